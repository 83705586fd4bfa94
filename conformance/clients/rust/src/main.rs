//! The client of rust_socketio that uses threads. ../../../languages.test.mjs describes the steps.

use rust_socketio::client::Client;
use rust_socketio::{ClientBuilder, Event, Payload, TransportType};
use serde_json::{json, Value};
use std::fmt::Debug;
use std::sync::mpsc::{channel, Receiver};
use std::time::Duration;

const TEXT: &str = "é€😀𝒳\u{2028}\n\"\\";
const SECONDS: Duration = Duration::from_secs(120);
const ALIVE: Duration = Duration::from_millis(6800); // a session without heartbeats would not live so long

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let program = Program {
        url: args[2].clone(),
        way: args[3].clone(),
    };
    match args[1].as_str() {
        "scenario" => program.scenario(),
        _ => program.conversation(),
    }
    std::process::exit(0); // other threads may still run
}

struct Program {
    url: String,
    way: String,
}

/// The arguments of a handler.
type Heard = Receiver<Payload>;

impl Program {
    fn scenario(&self) {
        let values = vec![
            json!(TEXT),
            json!(1),
            Value::Null,
            json!(true),
            json!({"ключ": [TEXT, [], {}]}),
            json!(TEXT.repeat(2000)),
        ];
        let large: Vec<u8> = (0..70_000).map(|i| (31 + i % 220) as u8).collect();

        let mut client = self.client("/").auth(json!({"token": TEXT}));
        let (auth, back, news, close);
        (client, auth) = hear(client, "auth");
        (client, back) = hear(client, "message-back");
        (client, news) = hear(client, "news");
        (client, close) = hear(client, Event::Close);
        let client = client.connect().unwrap();
        assert_eq!(next(&auth), [json!({"token": TEXT})]);
        let mut me = ask(&client, "whoami", vec![]).remove(0);
        while self.way == "upgrade" && me["transport"] != "websocket" {
            me = ask(&client, "whoami", vec![]).remove(0); // until the upgrade is done
        }
        assert_eq!(me["transport"] == "polling", self.way == "polling");
        println!("ok connect");

        // The client turns an event without arguments into "message" with the event's name.
        client.emit("message", values.clone()).unwrap();
        assert_eq!(next(&back), values);
        println!("ok events");

        // A binary event can have only one argument. Over WebSocket, the client fails with empty
        // binary data, and treats the byte 30 as the end of a packet.
        let more = match self.way.as_str() {
            "polling" => vec![vec![0, 1, 4, 30, 255], vec![]],
            _ => vec![vec![0, 1, 4, 255]],
        };
        for sent in [vec![large], more].concat() {
            client.emit("message", sent.clone()).unwrap();
            same(back.recv_timeout(SECONDS).unwrap(), Payload::from(sent));
        }
        println!("ok binary");

        assert_eq!(ask(&client, "message-with-ack", values.clone()), values);
        println!("ok acknowledgements");

        let (other, not_for_me) = hear(self.client("/"), "news");
        let other = other.connect().unwrap();
        ask(&client, "join", vec![json!("room")]);
        ask(
            &other,
            "broadcast",
            vec![
                json!({"to": ["room"], "self": true}),
                json!("news"),
                json!(TEXT),
            ],
        );
        assert_eq!(next(&news), [json!(TEXT)]);
        ask(&other, "message-with-ack", vec![]);
        assert!(not_for_me.try_recv().is_err());
        other.disconnect().unwrap();
        println!("ok rooms");

        let mut custom = self.client("/custom").auth(json!({"token": "another"}));
        let (custom_auth, custom_back, custom_close);
        (custom, custom_auth) = hear(custom, "auth");
        (custom, custom_back) = hear(custom, "message-back");
        (custom, custom_close) = hear(custom, Event::Close);
        let custom = custom.connect().unwrap();
        assert_eq!(next(&custom_auth), [json!({"token": "another"})]);
        custom.emit("message", values.clone()).unwrap();
        assert_eq!(next(&custom_back), values);
        let (refused, refusals) = hear(self.client("/refused"), Event::Error);
        let _refused = refused.connect();
        let refusal = format!("{:?}", next(&refusals)); // the refusal is part of a text
        for part in ["Not authorized", "E1", "no token"] {
            assert!(refusal.contains(part), "{refusal}");
        }
        println!("ok namespaces");

        custom.emit("disconnect-me", json!(false)).unwrap();
        custom_close.recv_timeout(SECONDS).unwrap();
        assert_eq!(ask(&client, "message-with-ack", vec![json!(1)]), [json!(1)]);
        println!("ok the server disconnects");

        std::thread::sleep(ALIVE);
        assert!(close.try_recv().is_err());
        assert_eq!(ask(&client, "whoami", vec![])[0]["id"], me["id"]);
        println!("ok heartbeat");

        println!("restart");
        std::io::stdin().read_line(&mut String::new()).unwrap();
        assert_eq!(next(&auth), [json!({"token": TEXT})]);
        client.emit("message", values.clone()).unwrap();
        assert_eq!(next(&back), values);
        let id = ask(&client, "whoami", vec![])[0]["id"].clone();
        assert_ne!(id, me["id"]);
        println!("ok the server is restarted");

        let (watcher, left) = hear(self.client("/"), "left");
        let watcher = watcher.connect().unwrap();
        ask(&watcher, "join", vec![json!("watchers")]);
        client.disconnect().unwrap();
        assert_eq!(next(&left), [id, json!("client namespace disconnect")]);
        println!("ok the client disconnects");
    }

    fn conversation(&self) {
        let (client, live) = hear(self.client("/"), "newMessage");
        let client = client.connect().unwrap();
        let page = ask(
            &client,
            "joinRoom",
            vec![json!({"roomId": "r", "userId": "other"})],
        )
        .remove(0);
        let mut messages = page["messages"].as_array().unwrap().clone();
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0]["message"], TEXT);
        assert_eq!(
            [&page["members"][0]["userId"], &page["members"][1]["userId"]],
            ["ada", "other"]
        );
        let message = json!({"roomId": "r", "message": {"text": TEXT}, "clientId": "c1"});
        let sent = ask(&client, "sendMessage", vec![message]).remove(0);
        assert_eq!(
            (&sent["seq"], &sent["message"]),
            (&json!(2), &json!({"text": TEXT}))
        );
        assert_eq!(next(&live), [sent.clone()]);
        let reply = next(&live).remove(0);
        assert_eq!(
            (&reply["seq"], &reply["message"]),
            (&json!(3), &json!(["reply", TEXT]))
        );
        messages.extend([sent, reply]);
        let history = ask(&client, "history", vec![json!({"roomId": "r", "after": 0})]).remove(0);
        assert_eq!(history["messages"], Value::from(messages));
        println!("ok conversation");
        client.disconnect().unwrap();
    }

    fn client(&self, namespace: &str) -> ClientBuilder {
        ClientBuilder::new(&self.url)
            .namespace(namespace)
            .reconnect_delay(50, 200)
            .transport_type(match self.way.as_str() {
                "websocket" => TransportType::Websocket,
                "polling" => TransportType::Polling,
                _ => TransportType::WebsocketUpgrade,
            })
    }
}

fn hear<E: Into<Event>>(client: ClientBuilder, event: E) -> (ClientBuilder, Heard) {
    let (send, receive) = channel();
    let client = client.on(event, move |payload, _| {
        let _ = send.send(payload);
    });
    (client, receive)
}

fn next(heard: &Heard) -> Vec<Value> {
    match heard.recv_timeout(SECONDS).expect("nothing came") {
        Payload::Text(values) => values,
        other => panic!("{other:?}"),
    }
}

/// Emits an event and waits for the acknowledgement.
fn ask(client: &Client, event: &str, args: Vec<Value>) -> Vec<Value> {
    let (send, receive) = channel();
    let answer = move |payload, _: rust_socketio::RawClient| {
        let _ = send.send(payload);
    };
    client.emit_with_ack(event, args, SECONDS, answer).unwrap();
    match next(&receive).remove(0) {
        Value::Array(values) => values,
        other => panic!("{other:?}"),
    }
}

fn same<T: PartialEq + Debug>(got: T, wanted: T) {
    assert!(
        got == wanted,
        "{:.500} is not {:.500}",
        format!("{got:?}"),
        format!("{wanted:?}")
    );
}

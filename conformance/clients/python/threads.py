"""python-socketio's Client: threads, requests and websocket-client."""
import os
import queue
import time
import traceback

import engineio
import socketio

from steps import *


class InOrder(engineio.Client):
    """Handles messages in order. The client uses a thread for each, which mixes up the parts of binary events."""

    def _trigger_event(self, event, *args, run_async=False, **more):
        return super()._trigger_event(event, *args, run_async=False, **more)


class Client(socketio.Client):
    def _engineio_client_class(self):
        return InOrder


class Heard(queue.Queue):
    """Records the arguments of a handler."""

    def __call__(self, *args):
        self.put(args)

    def next(self):
        return self.get(timeout=SECONDS)


def client(handlers):
    """Makes a client with handlers, {namespace: {event: handler}}."""
    sio = Client(**OPTIONS)
    for namespace, of in handlers.items():
        for event, handler in of.items():
            sio.on(event, handler, namespace=namespace)
    return sio


def connected(handlers, seconds=SECONDS):
    sio = client(handlers)
    more = {} if old else {"auth": AUTH, "wait_timeout": seconds}
    sio.connect(url, transports=TRANSPORTS, namespaces=list(handlers), **more)
    return sio


def ask(sio, event, *args, namespace=None):
    return sio.call(event, args, namespace=namespace, timeout=SECONDS)


def scenario():
    auth, back, news, gone, questions = Heard(), Heard(), Heard(), Heard(), Heard()
    custom_auth, custom_back, custom_gone = Heard(), Heard(), Heard()

    def answer(question):
        questions(question)
        return ANSWER

    sio = connected({
        "/": {"auth": auth, "message-back": back, "news": news, "question": answer, "disconnect": gone},
        "/custom": {"auth": custom_auth, "message-back": custom_back, "disconnect": custom_gone},
    })
    same(auth.next(), (AUTH,))
    me = ask(sio, "whoami")
    same((me["id"], me["transport"]), (sid(sio), TRANSPORT))
    ok("connect")

    for values in VALUES, ():
        sio.emit("message", values)
        same(back.next(), values)
    ok("events")

    sio.emit("message", BINARY)
    same(back.next(), BINARY)
    ok("binary")

    for values in VALUES, BINARY:
        same(ask(sio, "message-with-ack", *values), values)
    ok("acknowledgements")

    same(ask(sio, "ask", 5000, QUESTION), ANSWER)
    same(questions.next(), (QUESTION,))
    ok("answers")

    not_for_me = Heard()
    other = connected({"/": {"news": not_for_me}})
    same(set(ask(sio, "join", "room")), {sid(sio), "room"})
    ask(other, "broadcast", {"to": ["room"], "self": True}, "news", TEXT, LARGE)
    same(news.next(), (TEXT, LARGE))
    ask(other, "message-with-ack")
    assert not_for_me.empty()
    other.disconnect()
    ok("rooms")

    same(custom_auth.next(), (AUTH,))
    sio.emit("message", VALUES, namespace="/custom")
    same(custom_back.next(), VALUES)
    refused = Heard()
    try:
        connected({"/refused": {"connect_error": refused}}, seconds=5)  # it waits for the whole time
        if not old:
            raise AssertionError("not refused")
    except socketio.exceptions.ConnectionError:
        pass
    same(refused.next(), (REFUSAL,))
    ok("namespaces")

    sio.emit("disconnect-me", False, namespace="/custom")
    custom_gone.next()
    same(ask(sio, "message-with-ack", 1), 1)
    ok("the server disconnects")

    before = sid(sio)
    time.sleep(ALIVE)
    assert gone.empty()
    same(ask(sio, "whoami")["id"], before)
    ok("heartbeat")

    auth.queue.clear()
    restart()
    gone.next()
    same(auth.next(), (AUTH,))
    sio.emit("message", BINARY)
    same(back.next(), BINARY)
    assert sid(sio) != before
    ok("the server is restarted")

    left = Heard()
    watcher = connected({"/": {"left": left}})
    ask(watcher, "join", "watchers")
    id = sid(sio)
    sio.disconnect()
    gone_by(left.next(), id)
    ok("the client disconnects")
    watcher.disconnect()


def conversation():
    live = Heard()
    sio = connected({"/": {"newMessage": live}})
    page = ask(sio, "joinRoom", {"roomId": "r", "userId": "other"})
    same([m["message"] for m in page["messages"]], [TEXT])
    same([m["userId"] for m in page["members"]], ["ada", "other"])
    sent = ask(sio, "sendMessage", {"roomId": "r", "message": {"text": TEXT}, "clientId": "c1"})
    same((sent["seq"], sent["userId"], sent["message"]), (2, "other", {"text": TEXT}))
    same(live.next(), (sent,))
    reply, = live.next()
    same((reply["seq"], reply["userId"], reply["message"]), (3, "ada", ["reply", TEXT]))
    history = ask(sio, "history", {"roomId": "r", "after": 0})
    same(history["messages"], page["messages"] + [sent, reply])
    ok("conversation")
    sio.disconnect()


try:
    {"scenario": scenario, "conversation": conversation}[what]()
    os._exit(0)  # other threads may still run
except BaseException:
    traceback.print_exc()
    os._exit(1)

import io.socket.client.Ack;
import io.socket.client.IO;
import io.socket.client.Manager;
import io.socket.client.Socket;
import io.socket.engineio.client.transports.Polling;
import io.socket.engineio.client.transports.WebSocket;
import java.net.URI;
import java.net.URLEncoder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.TimeUnit;
import org.json.JSONArray;
import org.json.JSONObject;

/**
 * The official client for Java and Android: 2.x, and 1.x for Socket.IO 2.
 * ../../languages.test.mjs describes the steps.
 */
public final class Client {
    static final String TEXT = "é€😀𝒳\u2028\n\"\\";
    static final long SECONDS = 120;
    static final long ALIVE = 6800; // ms; a session without heartbeats would not live so long
    static String url;
    static String way;
    static boolean old; // 1.x

    public static void main(String[] args) {
        url = args[1];
        way = args[2];
        old = args.length > 3;
        try {
            if (args[0].equals("scenario")) scenario();
            else conversation();
            System.exit(0); // other threads may still run
        } catch (Throwable e) {
            e.printStackTrace();
            System.exit(1);
        }
    }

    static void scenario() throws Exception {
        byte[] large = new byte[70_000];
        for (int i = 0; i < large.length; i++) large[i] = (byte) (i % 251);
        Object[] values = {TEXT, 1, JSONObject.NULL, true, object("ключ", array(TEXT, array(), object())), TEXT.repeat(2000)};
        Object[] binary = {bytes(0, 1, 4, 0x1e, 255), TEXT, object("deep", array((Object) large)), bytes()};

        Manager manager = manager();
        Socket socket = socket(manager, "/", TEXT);
        Heard connects = heard(socket, Socket.EVENT_CONNECT), auth = heard(socket, "auth");
        Heard gone = heard(socket, Socket.EVENT_DISCONNECT);
        Heard back = heard(socket, "message-back"), news = heard(socket, "news");
        socket.connect();
        connects.next();
        carried(auth.next(), old ? object() : object("token", TEXT));
        JSONObject me;
        do me = (JSONObject) ask(socket, "whoami")[0]; // the upgrade takes a while
        while (way.equals("upgrade") && !me.get("transport").equals("websocket"));
        carried(new Object[] {me.get("id"), me.get("transport")}, socket.id(), way.equals("polling") ? "polling" : "websocket");
        ok("connect");

        for (Object[] sent : new Object[][] {values, {}}) {
            socket.emit("message", sent);
            carried(back.next(), sent);
        }
        ok("events");

        socket.emit("message", binary);
        carried(back.next(), binary);
        ok("binary");

        for (Object[] sent : new Object[][] {values, binary}) carried(ask(socket, "message-with-ack", sent), sent);
        ok("acknowledgements");

        Heard questions = new Heard();
        JSONObject answer = object("text", TEXT);
        answer.put("binary", bytes(4, 3));
        socket.on("question", args -> {
            questions.add(Arrays.copyOf(args, args.length - 1));
            ((Ack) args[args.length - 1]).call(answer);
        });
        carried(ask(socket, "ask", 5000, bytes(9)), answer);
        carried(questions.next(), bytes(9));
        ok("answers");

        Socket other = connected(manager());
        Heard notForMe = heard(other, "news");
        same(ask(socket, "join", "room")[0] instanceof JSONArray, true);
        ask(other, "broadcast", object("to", array("room")).put("self", true), "news", TEXT, large);
        carried(news.next(), TEXT, large);
        ask(other, "message-with-ack");
        same(notForMe.size(), 0);
        other.disconnect();
        ok("rooms");

        Socket custom = socket(manager, "/custom", "another");
        Heard customAuth = heard(custom, "auth"), customBack = heard(custom, "message-back");
        Heard customGone = heard(custom, Socket.EVENT_DISCONNECT);
        custom.connect();
        carried(customAuth.next(), object("token", "another"));
        custom.emit("message", values);
        carried(customBack.next(), values);
        // 1.x does not accept a refusal with data: its parser expects a string.
        Socket refused = socket(manager, old ? "/token" : "/refused", null);
        Heard refusals = heard(refused, old ? "error" : Socket.EVENT_CONNECT_ERROR);
        refused.connect();
        JSONObject refusal = object("message", "Not authorized").put("data", object("code", "E1").put("label", "no token"));
        carried(refusals.next(), old ? "Not authorized" : refusal);
        ok("namespaces");

        custom.emit("disconnect-me", false);
        carried(customGone.next(), "io server disconnect");
        carried(ask(socket, "message-with-ack", 1), 1);
        ok("the server disconnects");

        String before = socket.id();
        Thread.sleep(ALIVE);
        same(gone.size(), 0);
        same(((JSONObject) ask(socket, "whoami")[0]).get("id"), before);
        ok("heartbeat");

        System.out.println("restart");
        System.in.read();
        gone.next();
        connects.next();
        auth.next();
        socket.emit("message", binary);
        carried(back.next(), binary);
        same(socket.id().equals(before), false);
        ok("the server is restarted");

        Socket watcher = connected(manager());
        Heard left = heard(watcher, "left");
        ask(watcher, "join", "watchers");
        String id = socket.id();
        socket.disconnect();
        carried(left.next(), id, "client namespace disconnect");
        ok("the client disconnects");
    }

    static void conversation() throws Exception {
        Socket socket = connected(manager());
        Heard live = heard(socket, "newMessage");
        JSONObject page = (JSONObject) ask(socket, "joinRoom", object("roomId", "r").put("userId", "other"))[0];
        JSONArray messages = page.getJSONArray("messages");
        same(messages.length(), 1);
        same(messages.getJSONObject(0).get("message"), TEXT);
        same(page.getJSONArray("members").getJSONObject(0).get("userId"), "ada");
        same(page.getJSONArray("members").getJSONObject(1).get("userId"), "other");
        Object sent = ask(socket, "sendMessage",
            object("roomId", "r").put("message", object("text", TEXT)).put("clientId", "c1"))[0];
        same(((JSONObject) sent).get("seq"), 2);
        same(((JSONObject) sent).get("message"), object("text", TEXT));
        carried(live.next(), sent);
        JSONObject reply = (JSONObject) live.next()[0];
        same(reply.get("seq"), 3);
        same(reply.get("message"), array("reply", TEXT));
        JSONObject history = (JSONObject) ask(socket, "history", object("roomId", "r").put("after", 0))[0];
        same(history.get("messages"), messages.put(sent).put(reply));
        ok("conversation");
        socket.disconnect();
    }

    static Manager manager() {
        Manager.Options o = new Manager.Options();
        o.reconnectionDelay = 50;
        o.reconnectionDelayMax = 200;
        if (way.equals("websocket")) o.transports = new String[] {WebSocket.NAME};
        if (way.equals("polling")) o.transports = new String[] {Polling.NAME};
        return new Manager(URI.create(url), o);
    }

    /** Makes a socket that authenticates with a token. Old clients cannot do that in "/". */
    static Socket socket(Manager manager, String namespace, String token) throws Exception {
        IO.Options o = new IO.Options();
        if (old && token != null) o.query = "token=" + URLEncoder.encode(token, "UTF-8");
        else if (token != null) o.auth = Map.of("token", token);
        return manager.socket(namespace, o);
    }

    static Socket connected(Manager manager) throws Exception {
        Socket socket = socket(manager, "/", null);
        Heard connects = heard(socket, Socket.EVENT_CONNECT);
        socket.connect();
        connects.next();
        return socket;
    }

    /** Emits an event and waits for the acknowledgement. */
    static Object[] ask(Socket socket, String event, Object... args) throws Exception {
        Heard answer = new Heard();
        socket.emit(event, args, answer::add);
        return answer.next();
    }

    /** Records the arguments of a listener. */
    static final class Heard {
        private final BlockingQueue<Object[]> queue = new ArrayBlockingQueue<>(100);

        void add(Object... args) {
            queue.add(args);
        }

        int size() {
            return queue.size();
        }

        Object[] next() throws InterruptedException {
            Object[] args = queue.poll(SECONDS, TimeUnit.SECONDS);
            if (args == null) throw new AssertionError("nothing came");
            return args;
        }
    }

    static Heard heard(Socket socket, String event) {
        Heard heard = new Heard();
        socket.on(event, heard::add);
        return heard;
    }

    static void ok(String step) {
        System.out.println("ok " + step);
    }

    static void carried(Object[] got, Object... wanted) throws Exception {
        same(plain(array(got)), plain(array(wanted)));
    }

    static void same(Object got, Object wanted) throws Exception {
        if (!plain(got).equals(plain(wanted))) throw new AssertionError(plain(got) + " is not " + plain(wanted));
    }

    /** Converts a value so that it can be compared. */
    static Object plain(Object value) throws Exception {
        if (value instanceof byte[] bytes) return "binary " + Arrays.toString(bytes);
        if (value instanceof JSONArray list) {
            List<Object> all = new ArrayList<>();
            for (int i = 0; i < list.length(); i++) all.add(plain(list.opt(i)));
            return all;
        }
        if (value instanceof JSONObject members) {
            Map<Object, Object> all = new TreeMap<>();
            if (members.length() > 0) for (String name : JSONObject.getNames(members)) all.put(name, plain(members.get(name)));
            return all;
        }
        return value == null ? JSONObject.NULL : value; // arguments contain null itself
    }

    static JSONObject object(Object... member) throws Exception {
        JSONObject o = new JSONObject();
        return member.length == 0 ? o : o.put((String) member[0], member[1]);
    }

    static JSONArray array(Object... values) {
        JSONArray list = new JSONArray();
        for (Object value : values) list.put(value);
        return list;
    }

    static byte[] bytes(int... values) {
        byte[] all = new byte[values.length];
        for (int i = 0; i < all.length; i++) all[i] = (byte) values[i];
        return all;
    }
}

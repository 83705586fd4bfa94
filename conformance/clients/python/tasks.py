"""python-socketio's AsyncClient: asyncio and aiohttp."""
import asyncio

import socketio

from steps import *


class Heard(asyncio.Queue):
    """Records the arguments of a handler."""

    def __call__(self, *args):
        self.put_nowait(args)

    async def next(self):
        return await asyncio.wait_for(self.get(), SECONDS)


async def connected(handlers, seconds=SECONDS):
    """Connects a client with handlers, {namespace: {event: handler}}."""
    sio = socketio.AsyncClient(**OPTIONS)
    for namespace, of in handlers.items():
        for event, handler in of.items():
            sio.on(event, handler, namespace=namespace)
    more = {} if old else {"auth": AUTH, "wait_timeout": seconds}
    await sio.connect(url, transports=TRANSPORTS, namespaces=list(handlers), **more)
    return sio


def ask(sio, event, *args, namespace=None):
    return sio.call(event, args, namespace=namespace, timeout=SECONDS)


async def scenario():
    auth, back, news, gone, questions = Heard(), Heard(), Heard(), Heard(), Heard()
    custom_auth, custom_back, custom_gone = Heard(), Heard(), Heard()

    async def answer(question):
        questions(question)
        return ANSWER

    sio = await connected({
        "/": {"auth": auth, "message-back": back, "news": news, "question": answer, "disconnect": gone},
        "/custom": {"auth": custom_auth, "message-back": custom_back, "disconnect": custom_gone},
    })
    same(await auth.next(), (AUTH,))
    me = await ask(sio, "whoami")
    same((me["id"], me["transport"]), (sid(sio), TRANSPORT))
    ok("connect")

    for values in VALUES, ():
        await sio.emit("message", values)
        same(await back.next(), values)
    ok("events")

    await sio.emit("message", BINARY)
    same(await back.next(), BINARY)
    ok("binary")

    for values in VALUES, BINARY:
        same(await ask(sio, "message-with-ack", *values), values)
    ok("acknowledgements")

    same(await ask(sio, "ask", 5000, QUESTION), ANSWER)
    same(await questions.next(), (QUESTION,))
    ok("answers")

    not_for_me = Heard()
    other = await connected({"/": {"news": not_for_me}})
    same(set(await ask(sio, "join", "room")), {sid(sio), "room"})
    await ask(other, "broadcast", {"to": ["room"], "self": True}, "news", TEXT, LARGE)
    same(await news.next(), (TEXT, LARGE))
    await ask(other, "message-with-ack")
    assert not_for_me.empty()
    await other.disconnect()
    ok("rooms")

    same(await custom_auth.next(), (AUTH,))
    await sio.emit("message", VALUES, namespace="/custom")
    same(await custom_back.next(), VALUES)
    refused = Heard()
    try:
        await connected({"/refused": {"connect_error": refused}}, seconds=5)  # it waits for the whole time
        if not old:
            raise AssertionError("not refused")
    except socketio.exceptions.ConnectionError:
        pass
    same(await refused.next(), (REFUSAL,))
    ok("namespaces")

    await sio.emit("disconnect-me", False, namespace="/custom")
    await custom_gone.next()
    same(await ask(sio, "message-with-ack", 1), 1)
    ok("the server disconnects")

    before = sid(sio)
    await asyncio.sleep(ALIVE)
    assert gone.empty()
    same((await ask(sio, "whoami"))["id"], before)
    ok("heartbeat")

    await asyncio.to_thread(restart)
    await gone.next()
    same(await auth.next(), (AUTH,))
    await sio.emit("message", BINARY)
    same(await back.next(), BINARY)
    assert sid(sio) != before
    ok("the server is restarted")

    left = Heard()
    watcher = await connected({"/": {"left": left}})
    await ask(watcher, "join", "watchers")
    id = sid(sio)
    await sio.disconnect()
    gone_by(await left.next(), id)
    ok("the client disconnects")
    await watcher.disconnect()


async def conversation():
    live = Heard()
    sio = await connected({"/": {"newMessage": live}})
    page = await ask(sio, "joinRoom", {"roomId": "r", "userId": "other"})
    same([m["message"] for m in page["messages"]], [TEXT])
    same([m["userId"] for m in page["members"]], ["ada", "other"])
    sent = await ask(sio, "sendMessage", {"roomId": "r", "message": {"text": TEXT}, "clientId": "c1"})
    same((sent["seq"], sent["userId"], sent["message"]), (2, "other", {"text": TEXT}))
    same(await live.next(), (sent,))
    reply, = await live.next()
    same((reply["seq"], reply["userId"], reply["message"]), (3, "ada", ["reply", TEXT]))
    history = await ask(sio, "history", {"roomId": "r", "after": 0})
    same(history["messages"], page["messages"] + [sent, reply])
    ok("conversation")
    await sio.disconnect()


asyncio.run({"scenario": scenario, "conversation": conversation}[what]())

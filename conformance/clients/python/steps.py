"""What the programs say and expect. The steps are told in ../../languages.test.mjs."""
import sys

TEXT = "é€😀𝒳\u2028\n\"\\"
LARGE = bytes(i % 251 for i in range(70_000))
VALUES = (TEXT, 1, None, True, {"ключ": [TEXT, [], {}]}, TEXT * 2000)
BINARY = (bytes([0, 1, 4, 0x1E, 255]), TEXT, {"deep": [LARGE]}, b"")
QUESTION = bytes([9])
ANSWER = {"text": TEXT, "binary": bytes([4, 3])}
REFUSAL = {"code": "E1", "label": "no token"}
SECONDS = 120
ALIVE = 6.8  # a session that does not answer pings, or gets none, does not live so long

what, url, way, *old = sys.argv[1:]
TRANSPORTS = None if way == "upgrade" else [way]
TRANSPORT = "polling" if way == "polling" else "websocket"
OPTIONS = {"reconnection_delay": 0.05, "reconnection_delay_max": 0.2}
AUTH = {}
if old:  # 4.x, for Socket.IO 2, where a refusal is its data alone
    BINARY = BINARY[:3]  # it takes what is empty for None
else:
    OPTIONS["handle_sigint"] = False
    AUTH = {"token": TEXT}
    REFUSAL = {"message": "Not authorized", "data": REFUSAL}


def ok(step):
    print("ok", step, flush=True)


def restart():
    """Has the server killed and another one started."""
    print("restart", flush=True)
    sys.stdin.readline()


def same(got, wanted):
    if got != wanted:
        raise AssertionError(f"{got!r:.500} is not {wanted!r:.500}")


def sid(sio):
    return sio.sid if old else sio.get_sid()


def gone_by(left, id):
    # disconnect() does not wait until what it has queued is sent, and cuts the connection off; or,
    # with polling, just stops.
    same(left[0], id)
    known = "client namespace disconnect", "transport close", "transport error", "ping timeout"
    assert left[1] in known, left[1]

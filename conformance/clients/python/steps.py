"""What the programs send and expect. ../../languages.test.mjs describes the steps."""
import sys

TEXT = "é€😀𝒳\u2028\n\"\\"
LARGE = bytes(i % 251 for i in range(70_000))
VALUES = (TEXT, 1, None, True, {"ключ": [TEXT, [], {}]}, TEXT * 2000)
BINARY = (bytes([0, 1, 4, 0x1E, 255]), TEXT, {"deep": [LARGE]}, b"")
QUESTION = bytes([9])
ANSWER = {"text": TEXT, "binary": bytes([4, 3])}
REFUSAL = {"code": "E1", "label": "no token"}
SECONDS = 120
ALIVE = 6.8  # a session that does not answer pings, or gets none, would not live so long

what, url, way, *old = sys.argv[1:]
TRANSPORTS = None if way == "upgrade" else [way]
TRANSPORT = "polling" if way == "polling" else "websocket"
OPTIONS = {"reconnection_delay": 0.05, "reconnection_delay_max": 0.2}
AUTH = {}
if old:  # 4.x, for Socket.IO 2, in which a refusal contains only its data
    BINARY = BINARY[:3]  # it turns empty binary data into None
else:
    OPTIONS["handle_sigint"] = False
    AUTH = {"token": TEXT}
    REFUSAL = {"message": "Not authorized", "data": REFUSAL}


def ok(step):
    print("ok", step, flush=True)


def restart():
    """Asks the test to kill the server and start another one."""
    print("restart", flush=True)
    sys.stdin.readline()


def same(got, wanted):
    if got != wanted:
        raise AssertionError(f"{got!r:.500} is not {wanted!r:.500}")


def sid(sio):
    return sio.sid if old else sio.get_sid()


def gone_by(left, id):
    # disconnect() does not wait until it has sent its queue. It cuts the connection, or with polling
    # just stops.
    same(left[0], id)
    known = "client namespace disconnect", "transport close", "transport error", "ping timeout"
    assert left[1] in known, left[1]

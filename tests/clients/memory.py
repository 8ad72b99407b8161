# SPDX-License-Identifier: LGPL-2.1-or-later
"""The memory interface, as a toolstack's clients see it: Python's own
xmlrpc.client and http.client with json, over the Unix socket.

    memory.py SOCKET simulated          the host is host.scenario
    memory.py SOCKET xen                commands for the fake host go to
                                        standard output, their answers come
                                        from standard input

Every call and every error, in XML-RPC and in JSON-RPC 1 and 2."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
import traceback
import uuid
import xmlrpc.client

PATH = sys.argv[1]
XEN = sys.argv[2] == "xen"
MIB = 1024
GIB = 1024 * MIB
# What every guest of the host may be squeezed to, and more.
IMPOSSIBLE = 12 * GIB if not XEN else 3 * GIB


class Connection(http.client.HTTPConnection):
    def __init__(self, host="localhost"):
        super().__init__(host, timeout=90)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(90)
        self.sock.connect(PATH)


class Transport(xmlrpc.client.Transport):
    def make_connection(self, host):
        if not self._connection or host != self._connection[0]:
            self._connection = host, Connection(host)
        return self._connection[1]


class Failure(Exception):
    """What the broker says: a variant."""

    def __init__(self, variant):
        super().__init__(variant)
        self.variant = variant
        self.name = variant if isinstance(variant, str) else variant[0]
        self.payload = None if isinstance(variant, str) else variant[1]


def numbers(value):
    """Integers have no type tag in XML: they come as texts."""
    if isinstance(value, list):
        return [numbers(v) for v in value]
    if isinstance(value, str) and value.lstrip("-").isdigit():
        return int(value)
    return value


class Xml:
    name = "XML-RPC"

    def __init__(self):
        self.proxy = xmlrpc.client.ServerProxy(
            "http://localhost/", transport=Transport(), allow_none=True)

    def call(self, method, *params):
        # Python's own limit is that of <int>: larger ones go as texts.
        params = [str(p) if isinstance(p, int) and abs(p) >= 1 << 31 else p
                  for p in params]
        answer = getattr(self.proxy, method)(*params)
        assert set(answer) in ({"Status", "Value"},
                               {"Status", "ErrorDescription"}), answer
        if answer["Status"] == "Success":
            return numbers(answer["Value"])
        assert answer["Status"] == "Failure", answer
        raise Failure(numbers(answer["ErrorDescription"]))


class Json:
    version = 1
    name = "JSON-RPC 1"

    def __init__(self):
        self.connection = Connection()
        self.last_id = 0

    def call(self, method, *params):
        self.last_id += 1
        call = {"method": method, "params": params, "id": self.last_id}
        if self.version == 2:
            call["jsonrpc"] = "2.0"
        self.connection.request("POST", "/RPC2", json.dumps(call))
        answer = self.connection.getresponse()
        text = answer.read()
        assert answer.status == 200, (answer.status, text)
        return self.result(json.loads(text))

    def result(self, answer):
        assert set(answer) == {"result", "error", "id"}, answer
        assert answer["id"] == self.last_id, answer
        if answer["error"] is not None:
            assert answer["result"] is None, answer
            raise Failure(answer["error"])
        return answer["result"]


class Json2(Json):
    version = 2
    name = "JSON-RPC 2"

    def result(self, answer):
        assert answer["jsonrpc"] == "2.0", answer
        assert answer["id"] == self.last_id, answer
        if "error" not in answer:
            return answer["result"]
        assert "result" not in answer, answer
        failure = Failure(answer["error"]["data"])
        assert answer["error"]["code"] == -32000, answer
        assert answer["error"]["message"] == failure.name, answer
        raise failure


def status():
    connection = Connection()
    connection.request("GET", "/v1/status")
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def reservations(client):
    return {r["reservation"]: r["amount_kib"]
            for r in status()["reservations"] if r["client"] == client}


def eventually(what, seconds=5):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


def fails(client, name, method, *params):
    """The payload of the failure that this call has to end with."""
    try:
        result = client.call(method, *params)
    except Failure as failure:
        assert failure.name == name, failure.variant
        return failure.payload
    raise AssertionError("%s%r did not fail: %r" % (method, params, result))


def fails_inside(client, part, method, *params):
    text = fails(client, "Internal_error", method, *params)
    assert part in text, text


# ------------------------------------------------------------ the fake host

def host(*words):
    """Has the host that is under the broker changed."""
    print(*words, flush=True)
    answer = sys.stdin.readline().split()
    assert answer and answer[0] == "ok", answer
    return int(answer[1]) if len(answer) > 1 else None


def store_read(path):
    run = subprocess.run(["xenstore-read", path], capture_output=True,
                         check=False)
    return run.stdout.decode().strip() if run.returncode == 0 else None


def store_write(path, value):
    subprocess.run(["xenstore-write", path, str(value)], check=True)


# --------------------------------------------------------------- every client

def test_login(c):
    assert c.call("login", "dbg", "service-1") == "service-1"


def test_diagnostics(c):
    assert len(c.call("get_diagnostics", "dbg")) > 10


def test_host_reserved_memory(c):
    assert c.call("get_host_reserved_memory", "dbg") == 72 * MIB


def test_initial_free_memory(c):
    n = c.call("get_host_initial_free_memory", "dbg")
    total = status()["host"]["total_kib"] * 1024
    assert 0 < n <= total and n % 4096 == 0, n


def test_zero_policy(c):
    name, amount = c.call("get_domain_zero_policy", "dbg")
    assert name == "Fixed_size", name
    assert amount == (1 if XEN else 2) << 30, amount


def test_balance(c):
    assert c.call("balance_memory", "dbg") is None


def test_reserve(c):
    session = "reserve-" + str(c.version if isinstance(c, Json) else 0)
    c.call("login", "dbg", session)
    before = status()["host"]["reserved_kib"]
    one = c.call("reserve_memory", "dbg", session, 32 * MIB)
    assert str(uuid.UUID(one)) == one
    assert reservations(session) == {one: 32 * MIB}
    assert status()["host"]["reserved_kib"] == before + 32 * MIB
    two, amount = c.call("reserve_memory_range", "dbg", session,
                         16 * MIB, 48 * MIB)
    assert 16 * MIB <= amount <= 48 * MIB, amount
    assert reservations(session) == {one: 32 * MIB, two: amount}
    assert c.call("delete_reservation", "dbg", session, one) is None
    assert reservations(session) == {two: amount}
    # pages are whole, ranges needn't be
    three, amount = c.call("reserve_memory_range", "dbg", session, 5, 7)
    assert 5 <= amount <= 7, amount
    # no more than is there
    c.call("login", "dbg", session)
    assert reservations(session) == {}
    assert status()["host"]["reserved_kib"] == before


def test_sessions_are_apart(c):
    one = c.call("reserve_memory", "dbg", "never-logged-in", 4 * MIB)
    c.call("login", "dbg", "another")
    assert c.call("delete_reservation", "dbg", "another", one) is None
    assert one in reservations("never-logged-in")
    assert fails(c, "Unknown_reservation", "transfer_reservation_to_domain",
                 "dbg", "another", one, 3) == one
    c.call("login", "dbg", "never-logged-in")
    assert reservations("never-logged-in") == {}


def test_transfer(c):
    domid = 30 if XEN else 4
    if XEN:
        host("create", domid, "pv")
    fails(c, "No_reservation", "query_reservation_of_domain", "dbg", "xenopsd",
          domid)
    one = c.call("reserve_memory", "dbg", "xenopsd", 16 * MIB)
    assert c.call("transfer_reservation_to_domain", "dbg", "xenopsd", one,
                  domid) is None
    assert c.call("query_reservation_of_domain", "dbg", "xenopsd",
                  domid) == one
    # a login is no end of it
    c.call("login", "dbg", "xenopsd")
    assert c.call("query_reservation_of_domain", "dbg", "xenopsd",
                  domid) == one
    # again: it is there already
    c.call("transfer_reservation_to_domain", "dbg", "xenopsd", one, domid)
    assert c.call("delete_reservation", "dbg", "xenopsd", one) is None
    fails(c, "No_reservation", "query_reservation_of_domain", "dbg", "xenopsd",
          domid)
    if XEN:
        host("destroy", domid)


def test_errors(c):
    nobody = str(uuid.uuid4())
    assert c.call("delete_reservation", "dbg", "x", nobody) is None
    assert c.call("delete_reservation", "dbg", "x", "") is None
    assert fails(c, "Unknown_reservation", "transfer_reservation_to_domain",
                 "dbg", "x", nobody, 1) == nobody
    assert fails(c, "Invalid_memory_value", "reserve_memory", "dbg", "x",
                 -1) == -1
    assert fails(c, "Invalid_memory_value", "reserve_memory", "dbg", "x",
                 (1 << 63) - 1) == (1 << 63) - 1
    assert fails(c, "Invalid_memory_value", "reserve_memory_range", "dbg", "x",
                 8192, 4096) == 8192
    assert fails(c, "Invalid_memory_value", "reserve_memory_range", "dbg", "x",
                 -8192, 4096) == -8192
    needed, free = fails(c, "Cannot_free_this_much_memory", "reserve_memory",
                         "dbg", "x", IMPOSSIBLE)
    assert needed == IMPOSSIBLE and 0 <= free < needed, (needed, free)
    needed, _ = fails(c, "Cannot_free_this_much_memory",
                      "reserve_memory_range", "dbg", "x", IMPOSSIBLE,
                      2 * IMPOSSIBLE)
    assert needed == IMPOSSIBLE, needed
    fails_inside(c, "no_such_method", "no_such_method", "dbg")
    fails_inside(c, "dbg", "get_host_reserved_memory")
    fails_inside(c, "service", "login", "dbg")
    fails_inside(c, "parameters", "login", "dbg", "x", "y")
    fails_inside(c, "kib", "reserve_memory", "dbg", "x", "many")
    fails_inside(c, "service", "login", "dbg", "a/b")
    fails_inside(c, "domid", "query_reservation_of_domain", "dbg", "x", "one")
    fails_inside(c, "777", "query_reservation_of_domain", "dbg", "x", 777)
    one = c.call("reserve_memory", "dbg", "x", 4 * MIB)
    fails_inside(c, "777", "transfer_reservation_to_domain", "dbg", "x", one,
                 777)
    c.call("login", "dbg", "x")


# ---------------------------------------------------------------- the surface

def talk(data, shut=False):
    """Sends bytes, and returns all that comes until the end."""
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(30)
    s.connect(PATH)
    s.sendall(data)
    if shut:
        s.shutdown(socket.SHUT_WR)
    return s


def body_of(s):
    answer = http.client.HTTPResponse(s)
    answer.begin()
    return answer.status, answer.read()


CALL = b'{"method":"get_host_reserved_memory","params":["x"],"id":1}'
XML_CALL = (b"<methodCall><methodName>get_host_reserved_memory</methodName>"
            b"<params><param><value>d</value></param></params></methodCall>")


def test_heads():
    n = b"%d" % len(CALL)
    for head in (b"User-agent: xapi\r\ncontent-length: " + n,
                 b"content-length: " + n + b"\r\nUser-agent: xapi",
                 b"CONTENT-LENGTH:" + n,
                 b"Host: x\r\nConnection: keep-alive\r\nAccept: */*\r\n"
                 b"Content-Type: text/plain\r\nContent-Length: " + n):
        s = talk(b"POST / HTTP/1.1\r\n" + head + b"\r\n\r\n" + CALL)
        code, body = body_of(s)
        assert code == 200 and json.loads(body)["result"] == 72 * MIB, body
        s.close()
    s = talk(b"POST / HTTP/1.0\r\ncontent-length: " + n + b"\r\n\r\n" + CALL)
    code, body = body_of(s)
    assert code == 200 and json.loads(body)["result"] == 72 * MIB, body
    assert s.recv(1) == b""
    s.close()


def test_pipelined():
    one = b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n%s"
    s = talk(b"".join(one % (len(b), b) for b in [CALL, XML_CALL] * 20))
    data = b""
    while data.count(b"</methodResponse>") < 20:
        more = s.recv(65536)
        assert more, data
        data += more
    assert data.count(b'"result":73728') == 20
    assert data.count(b"<value>73728</value>") == 20
    s.close()


def test_expectation():
    s = talk(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\n"
             b"content-length: %d\r\n\r\n" % len(CALL))
    assert s.recv(100).startswith(b"HTTP/1.1 100 ")
    s.sendall(CALL)
    assert body_of(s)[0] == 200
    s.close()


def test_chunks():
    for size in (1, 7, 1000):
        parts = [XML_CALL[i:i + size] for i in range(0, len(XML_CALL), size)]
        s = talk(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" +
                 b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts) +
                 b"0\r\n\r\n")
        code, body = body_of(s)
        assert code == 200 and b"<value>73728</value>" in body, body
        s.close()


def test_bodies_that_are_no_calls():
    for body in (b"", b"hello", b"[]", b"<html/>", b"<", b"{}",
                 b'<!DOCTYPE a [<!ENTITY b "c">]><methodCall/>'):
        s = talk(b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n%s" %
                 (len(body), body))
        code, text = body_of(s)
        assert code == 400, (body, code)
        assert json.loads(text)["error"]["code"] in (-32700, -32600), text
        s.close()


def test_body_limit():
    for filler, form in ((b"<" + b" " * (1 << 20), b"<methodResponse>"),
                         (b"{" + b" " * (1 << 20), b'{"jsonrpc"')):
        s = talk(b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n%s" %
                 (len(filler), filler))
        code, text = body_of(s)
        assert code == 413 and form in text and b"1 MiB" in text, text
        s.close()


# ------------------------------------------------------ several at the same time

def reserving(session, kib, native=False):
    call = {"method": "reserve_memory", "id": 1,
            "params": ["dbg", session, kib]}
    if native:  # stays queued while it is impossible
        call = {"jsonrpc": "2.0", "method": "squeezed.reserve", "id": 1,
                "params": {"client": session, "min": kib, "wait": True}}
    call = json.dumps(call).encode()
    return talk(b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n%s" %
                (len(call), call))


def queued(session):
    return sum(1 for r in status()["queue"] if r["client"] == session)


def test_nobody_waits_for_another():
    """While one squeeze goes on for seconds."""
    for c in CLIENTS:
        c.call("login", "dbg", "quick")
    slow = reserving("slow", 5 * GIB)
    eventually(lambda: queued("slow") == 1)
    start = time.monotonic()
    for c in CLIENTS:
        for _ in range(5):
            test_host_reserved_memory(c)
            fails(c, "No_reservation", "query_reservation_of_domain", "dbg",
                  "x", 1)
            c.call("delete_reservation", "dbg", "quick", "nothing")
            fails(c, "Cannot_free_this_much_memory", "reserve_memory", "dbg",
                  "quick", IMPOSSIBLE)
    took = time.monotonic() - start
    assert queued("slow") == 1, "the squeeze was too fast for this test"
    assert took < 1, took
    code, body = body_of(slow)
    assert json.loads(body)["error"] is None, body
    slow.close()
    CLIENTS[0].call("login", "dbg", "slow")


def test_free_memory_is_not_waited_for():
    """What is free beyond the wants of those before."""
    c = Json()
    slow = reserving("slow", 5 * GIB)
    eventually(lambda: queued("slow") == 1)
    # the guest that gives fast gives more than is wanted of it meanwhile
    c.call("login", "dbg", "slow")
    slow.close()
    eventually(lambda: queued("slow") == 0)
    start = time.monotonic()
    one = c.call("reserve_memory", "dbg", "quick", 512 * MIB)
    assert time.monotonic() - start < 0.5
    c.call("delete_reservation", "dbg", "quick", one)


def test_refused_to_cooperate():
    """The stuck guest is named, in each notation."""
    for c in CLIENTS:
        assert fails(c, "Domains_refused_to_cooperate", "reserve_memory",
                     "dbg", "big", 9 * GIB) == [2]


def test_leaving_cancels():
    s = reserving("leaver", 9 * GIB)
    eventually(lambda: queued("leaver") == 1)
    s.close()
    eventually(lambda: queued("leaver") == 0)
    assert reservations("leaver") == {}


def test_leaving_at_the_grant():
    """Whatever the instant, nothing is left over."""
    for i in range(60):
        s = reserving("instant", 8 * MIB)
        if i % 3:
            time.sleep(0.0003 * (i % 10))
        s.close()
    eventually(lambda: queued("instant") == 0 and
               reservations("instant") == {})


def test_queue_limit():
    """64 of one client; others are served all the same."""
    waiting = [reserving("many", IMPOSSIBLE, True) for _ in range(64)]
    eventually(lambda: queued("many") == 64)
    code, body = body_of(reserving("many", 9 * GIB))
    variant = json.loads(body)["error"]
    assert code == 200 and variant[0] == "Internal_error", body
    assert "queued requests of one client" in variant[1], body
    for c in CLIENTS:
        fails_inside(c, "one client", "reserve_memory", "dbg", "many", 9 * GIB)
        fails(c, "Cannot_free_this_much_memory", "reserve_memory", "dbg",
              "few", IMPOSSIBLE)
        # what is free is anybody's: those ahead can't have enough of it
        c.call("reserve_memory", "dbg", "few", 64 * MIB)
        c.call("login", "dbg", "few")
        test_host_reserved_memory(c)
    for s in waiting:
        s.close()
    eventually(lambda: queued("many") == 0)


# ----------------------------------------------------------- on a fake Xen host

def transfer_keys(c, kind, extra_kib):
    host("create", 40, kind)
    one = c.call("reserve_memory", "dbg", "xenopsd", 24 * MIB)
    path = "/squeezed/state/xenopsd/" + one
    assert store_read(path) == str(24 * MIB)
    c.call("transfer_reservation_to_domain", "dbg", "xenopsd", one, 40)
    memory = "/local/domain/40/memory/"
    assert store_read(memory + "initial-reservation") == str(24 * MIB)
    assert store_read(memory + "reservation-id") == one
    assert store_read(path + "/in-transfer") == "40"
    assert host("limit", 40) == 24 * MIB + extra_kib
    # counted once while it is being built
    assert status()["host"]["reserved_kib"] == 0
    left = status()["host"]["headroom_kib"]
    c.call("delete_reservation", "dbg", "xenopsd", one)
    assert store_read(path) is None
    # the limit is the domain's promise: nobody else gets any of it
    assert host("limit", 40) == 24 * MIB + extra_kib
    c.call("balance_memory", "dbg")
    assert status()["host"]["headroom_kib"] == left
    host("destroy", 40)
    c.call("balance_memory", "dbg")


def test_transfer_of_pv():
    for c in CLIENTS:
        transfer_keys(c, "pv", 0)


def test_transfer_of_hvm():
    for c in CLIENTS:
        transfer_keys(c, "hvm", 1 * MIB)


def test_in_transfer_ends_with_the_domain():
    c = Json()
    host("create", 41, "pv")
    one = c.call("reserve_memory", "dbg", "xenopsd", 8 * MIB)
    c.call("transfer_reservation_to_domain", "dbg", "xenopsd", one, 41)
    host("destroy", 41)
    c.call("balance_memory", "dbg")  # as after every end of a domain
    eventually(lambda: store_read("/squeezed/state/xenopsd/" + one) is None)
    fails_inside(c, "41", "query_reservation_of_domain", "dbg", "xenopsd", 41)


def start_vm(c, session, domid, least, most):
    """As xenopsd does it: the builder gets what the transfer allows it."""
    one, amount = c.call("reserve_memory_range", "dbg", session, least, most)
    assert least <= amount <= most, amount
    host("create", domid, "hvm")
    c.call("transfer_reservation_to_domain", "dbg", session, one, domid)
    assert host("populate", domid) == amount + MIB
    memory = "/local/domain/%d/memory/" % domid
    store_write(memory + "static-max", most)
    store_write(memory + "initial-target", amount)
    store_write(memory + "target", amount)
    store_write(memory + "dynamic-min", least)
    store_write(memory + "dynamic-max", most)
    assert c.call("query_reservation_of_domain", "dbg", session, domid) == one
    c.call("delete_reservation", "dbg", session, one)
    host("unpause", domid)
    return amount


def test_xenopsd():
    """The life of virtual machines, with nothing but XML-RPC."""
    c = Xml()
    session = c.call("login", "dbg", "xenopsd")
    start_vm(c, session, 50, 256 * MIB, 512 * MIB)
    start_vm(c, session, 51, 128 * MIB, 128 * MIB)
    assert status()["host"]["reserved_kib"] == 0
    # something goes wrong before the transfer
    one = c.call("reserve_memory", "dbg", session, 64 * MIB)
    c.call("delete_reservation", "dbg", session, one)
    # nothing of it is left when all have gone
    for domid in 50, 51:
        host("destroy", domid)
        c.call("balance_memory", "dbg")
    assert reservations(session) == {}
    eventually(lambda: all(d["actual_kib"] == GIB
                           for d in status()["domains"] if d["domid"] < 4), 10)
    # what can't be had is refused at once, for the toolstack tries again
    start = time.monotonic()
    for _ in range(3):
        fails(c, "Cannot_free_this_much_memory", "reserve_memory_range",
              "dbg", session, IMPOSSIBLE, IMPOSSIBLE)
    assert time.monotonic() - start < 1


def test_hand_over():
    """Reservations of XAPI's own broker."""
    c = Xml()
    free, mine = str(uuid.uuid4()), str(uuid.uuid4())
    c.call("login", "dbg", "xenopsd")
    host("kill")
    store_write("/squeezed/state/xenopsd/" + free, 32 * MIB)
    host("create", 42, "pv")
    store_write("/squeezed/state/xenopsd/" + mine, 16 * MIB)
    store_write("/squeezed/state/xenopsd/" + mine + "/in-transfer", 42)
    host("start")
    c = Xml()
    assert reservations("xenopsd") == {free: 32 * MIB, mine: 16 * MIB}
    assert c.call("query_reservation_of_domain", "dbg", "xenopsd", 42) == mine
    assert status()["host"]["reserved_kib"] == 32 * MIB
    c.call("delete_reservation", "dbg", "xenopsd", mine)
    c.call("login", "dbg", "xenopsd")
    assert reservations("xenopsd") == {}
    host("destroy", 42)


def test_initial_memory_is_kept():
    before = Json().call("get_host_initial_free_memory", "dbg")
    host("kill")
    host("start")
    assert Json2().call("get_host_initial_free_memory", "dbg") == before


def test_initial_memory_is_constant():
    """Each sample is a look of its own, also when nothing goes on.  The last
    test: the host is empty afterwards."""
    for domain in status()["domains"]:
        if domain["domid"] > 0:
            host("destroy", domain["domid"])
    Json().call("balance_memory", "dbg")
    host("kill")
    os.unlink(os.path.join(os.path.dirname(PATH), "boot_memory"))
    host("boot", 125 * MIB)
    n = Json().call("get_host_initial_free_memory", "dbg")
    Json().call("balance_memory", "dbg")
    now = status()
    zero = [d for d in now["domains"] if d["domid"] == 0][0]
    assert n == 1024 * (now["host"]["free_kib"] + now["host"]["scrub_kib"] +
                        zero["actual_kib"]), (n, now["host"], zero)


CLIENTS = []


def run(name, test, *arguments):
    try:
        test(*arguments)
    except Exception:  # whatever it is, the others go on
        sys.stderr.write("FAILED: %s\n%s" % (name, traceback.format_exc()))
        return 1
    return 0


def main():
    everywhere = [test_login, test_diagnostics, test_host_reserved_memory,
                  test_zero_policy, test_balance, test_reserve,
                  test_sessions_are_apart, test_transfer, test_errors,
                  test_initial_free_memory]
    alone = [test_heads, test_pipelined, test_expectation, test_chunks,
             test_bodies_that_are_no_calls, test_body_limit,
             test_leaving_at_the_grant]
    if XEN:
        alone += [test_transfer_of_pv, test_transfer_of_hvm,
                  test_in_transfer_ends_with_the_domain, test_xenopsd,
                  test_hand_over,
                  test_initial_memory_is_kept,
                  test_initial_memory_is_constant]
    else:
        alone += [test_nobody_waits_for_another,
                  test_free_memory_is_not_waited_for,
                  test_leaving_cancels, test_queue_limit,
                  test_refused_to_cooperate]
    CLIENTS.extend([Xml(), Json(), Json2()])
    count = failed = 0
    for test in everywhere:
        for c in CLIENTS:
            failed += run("%s, %s" % (test.__name__, c.name), test, c)
            count += 1
    for test in alone:
        failed += run(test.__name__, test)
        count += 1
    sys.stderr.write("%d checks, %d failed\n" % (count, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    os._exit(main())

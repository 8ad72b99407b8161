# SPDX-License-Identifier: LGPL-2.1-or-later
"""Many clients at once with random calls, right and wrong, in every notation,
some of whose connections are cut at any point.

    soak.py SOCKET PID SECONDS SEED

At the end every session has exactly the reservations that it was told of and
didn't give back, what the broker has open and holds in memory is what it was,
and every answer was well formed."""

import http.client
import json
import os
import random
import socket
import sys
import threading
import time
import xmlrpc.client

PATH, PID = sys.argv[1], int(sys.argv[2])
SECONDS, SEED = float(sys.argv[3]), int(sys.argv[4])
CLIENTS = 50
MIB = 1024
# Domains of host.scenario that a reservation may be transferred to.
OWNER = 4
# Between phases all reservations are given back.
PHASES = 5
# What memory may have grown by since the end of the first one, KiB: the most
# that was ever queued or reserved at a time stays, and free lists have holes.
GROWTH = 4096


class Broken(Exception):
    """An answer that no client could read."""


def xml_value(value):
    if isinstance(value, bool):
        return "<value><boolean>%d</boolean></value>" % value
    if isinstance(value, int):
        return random.choice(("<value>%d</value>", "<value><int>%d</int></value>",
                              "<value><i8>%d</i8></value>")) % value
    if value is None:
        return "<value><nil/></value>"
    return random.choice(("<value>%s</value>",
                          "<value><string>%s</string></value>")) % value


def numbers(value):
    if isinstance(value, list):
        return [numbers(v) for v in value]
    if isinstance(value, str) and value.lstrip("-").isdigit():
        return int(value)
    return value


def body_of(notation, method, params):
    if notation == "xml":
        return ("<?xml version='1.0'?><methodCall><methodName>%s</methodName>"
                "<params>%s</params></methodCall>" %
                (method, "".join("<param>%s</param>" % xml_value(p)
                                 for p in params)))
    call = {"method": method, "params": params, "id": 5}
    if notation == "json2":
        call["jsonrpc"] = "2.0"
    return json.dumps(call)


def result_of(notation, text):
    """(True, result) or (False, error)."""
    if notation == "xml":
        (answer,), _ = xmlrpc.client.loads(text)
        good = answer["Status"] == "Success"
        if not good and answer["Status"] != "Failure":
            raise Broken(text)
        return good, numbers(answer["Value" if good else "ErrorDescription"])
    answer = json.loads(text)
    if answer["id"] != 5:
        raise Broken(text)
    if notation == "json2":
        good = "error" not in answer
        return good, answer["result" if good else "error"]
    good = answer["error"] is None
    return good, answer["result" if good else "error"]


class Client(threading.Thread):
    def __init__(self, number):
        super().__init__()
        self.random = random.Random(SEED * 1000 + number)
        self.session = "soak-%d" % number
        self.mine = {}      # reservations: KiB
        self.doubtful = {}  # asked to go, and nobody knows whether they did
        self.stream = None
        self.calls = self.cuts = 0
        self.error = None

    # ------------------------------------------------------------- transport

    def connect(self):
        self.stream = socket.socket(socket.AF_UNIX)
        self.stream.settimeout(90)
        self.stream.connect(PATH)

    def close(self):
        if self.stream:
            self.stream.close()
        self.stream = None

    def request(self, body):
        body = body.encode() if isinstance(body, str) else body
        heads = [b"content-length: %d" % len(body), b"User-agent: soak"]
        if self.random.random() < 0.1:
            heads = [b"Transfer-Encoding: chunked"]
            body = (b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body
                    else b"0\r\n\r\n")
        self.random.shuffle(heads)
        return b"POST / HTTP/1.1\r\n" + b"\r\n".join(heads) + b"\r\n\r\n" + body

    def ask(self, body):
        """The status and the text."""
        if not self.stream:
            self.connect()
        self.stream.sendall(self.request(body))
        answer = http.client.HTTPResponse(self.stream)
        answer.begin()
        text = answer.read()
        if answer.getheader("Connection") == "close":
            self.close()
        elif self.random.random() < 0.02:
            self.close()
        self.calls += 1
        return answer.status, text

    def cut(self, body):
        """Sends it, or a part of it, and leaves."""
        request = self.request(body)
        if not self.stream:
            self.connect()
        how = self.random.randrange(4)
        if how == 0:
            self.stream.sendall(request[:self.random.randrange(len(request))])
        else:
            self.stream.sendall(request)
        if how >= 2:
            time.sleep(self.random.random() * 0.005)
        if how == 3:
            self.stream.setblocking(False)
            try:
                self.stream.recv(self.random.randrange(1, 40))
            except BlockingIOError:
                pass
        self.close()
        self.cuts += 1

    def call(self, method, *params):
        notation = self.random.choice(("xml", "json1", "json2"))
        status, text = self.ask(body_of(notation, method, list(params)))
        if status != 200:
            raise Broken("%s: status %d: %r" % (method, status, text))
        return result_of(notation, text)

    # ------------------------------------------------------------------ calls

    def size(self):
        if self.random.random() < 0.02:
            return self.random.randrange(1024 * MIB)
        return self.random.choice((0, 4, 5, self.random.randrange(MIB),
                                   self.random.randrange(32 * MIB)))

    def reserve(self):
        if len(self.mine) >= 4:
            return
        kib = self.size()
        if self.random.random() < 0.5:
            good, result = self.call("reserve_memory", "d", self.session, kib)
            if good:
                self.mine[result] = (kib + 3) // 4 * 4
            return
        most = kib + self.size()
        good, result = self.call("reserve_memory_range", "d", self.session,
                                 kib, most)
        if good:
            if not kib <= result[1] <= most:
                raise Broken("%d to %d: %r" % (kib, most, result))
            self.mine[result[0]] = None  # pages are whole

    def reserve_and_leave(self):
        self.cut(body_of(self.random.choice(("xml", "json1", "json2")),
                         "reserve_memory",
                         ["d", self.session, self.size()]))

    def delete(self):
        if not self.mine:
            return
        one = self.random.choice(list(self.mine))
        if self.random.random() < 0.2:
            self.doubtful[one] = self.mine.pop(one)
            self.cut(body_of("json1", "delete_reservation",
                             ["d", self.session, one]))
            return
        good, result = self.call("delete_reservation", "d", self.session, one)
        if not good:
            raise Broken(result)
        del self.mine[one]

    def transfer(self):
        if self.mine:
            one = self.random.choice(list(self.mine))
            good, result = self.call("transfer_reservation_to_domain", "d",
                                     self.session, one, OWNER)
            if not good:
                raise Broken(result)
            # an end, too: the domain would own more and more
            good, result = self.call("delete_reservation", "d", self.session,
                                     one)
            if not good:
                raise Broken(result)
            del self.mine[one]

    def login(self):
        good, result = self.call("login", "d", self.session)
        if not good or result != self.session:
            raise Broken(result)
        self.mine.clear()
        self.doubtful.clear()

    def question(self):
        self.call(*self.random.choice((
            ("get_host_reserved_memory", "d"), ("get_domain_zero_policy", "d"),
            ("get_diagnostics", "d"), ("get_host_initial_free_memory", "d"),
            ("query_reservation_of_domain", "d", self.session, OWNER),
            ("query_reservation_of_domain", "d", self.session, 9999),
            ("squeezed.status",), ("squeezed.available",),
            ("squeezed.plan", self.size(), 1 << 30))))

    def wrong(self):
        good, _ = self.call(*self.random.choice((
            ("nonsense", "d"), ("login",), ("login", "d", "a/b"),
            ("login", "d", "x", "y"), ("squeezed.nonsense",),
            ("reserve_memory", "d", self.session, -1),
            ("reserve_memory", "d", self.session, 1 << 62),
            ("reserve_memory", "d", self.session, 1 << 40),
            ("reserve_memory", "d", self.session, "x"),
            ("reserve_memory_range", "d", self.session, 9, 8),
            ("transfer_reservation_to_domain", "d", self.session, "x", 1),
            ("transfer_reservation_to_domain", "d", self.session, "x", 9999),
            ("squeezed.release", "x"))))
        if good:
            raise Broken("a wrong call was carried out")

    def garbage(self):
        whole = body_of(self.random.choice(("xml", "json1")), "login",
                        ["d", "garbage"])
        part = whole[:self.random.randrange(len(whole))]
        noise = bytes(self.random.randrange(256) for _ in range(20))
        body = self.random.choice((part.encode(), part.encode() + noise, b"",
                                   b"<!DOCTYPE x><x/>", b"[]", noise))
        status, text = self.ask(body)
        if status != 400 or "error" not in json.loads(text):
            raise Broken("status %d for %r: %r" % (status, body, text))

    def cut_anything(self):
        self.cut(body_of("xml", "balance_memory", ["d"]))

    def balance(self):
        good, result = self.call("balance_memory", "d")
        if not good or result is not None:
            raise Broken(result)

    def run(self):
        acts = ((self.reserve, 20), (self.reserve_and_leave, 10),
                (self.delete, 12), (self.transfer, 2), (self.login, 1),
                (self.question, 20), (self.wrong, 15), (self.garbage, 10),
                (self.cut_anything, 2), (self.balance, 0.1))
        try:
            while time.monotonic() < END:
                act, = self.random.choices([a for a, _ in acts],
                                           [w for _, w in acts])
                act()
            self.close()
        except Exception as error:  # told at the end
            self.error = "%s: %s: %s" % (self.session, type(error).__name__,
                                         error)
            self.close()


# ------------------------------------------------------------------- the broker

def status():
    stream = socket.socket(socket.AF_UNIX)
    stream.connect(PATH)
    stream.sendall(b"GET /v1/status HTTP/1.1\r\n\r\n")
    answer = http.client.HTTPResponse(stream)
    answer.begin()
    result = json.loads(answer.read())
    stream.close()
    return result


def files():
    return len(os.listdir("/proc/%d/fd" % PID))


def memory():
    with open("/proc/%d/status" % PID, encoding="ascii") as lines:
        for line in lines:
            if line.startswith("RssAnon:"):
                return int(line.split()[1])
    return 0


def settled(what):
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.05)
    return False


def wrong_reservations(clients):
    """What is there and what ought to be, where they differ."""
    there = {}
    for r in status()["reservations"]:
        there.setdefault(r["client"], {})[r["reservation"]] = r["amount_kib"]
    wrong = []
    for c in clients:
        found = there.pop(c.session, {})
        for one, kib in c.mine.items():
            if one not in found:
                wrong.append("%s: %s is lost" % (c.session, one))
            elif kib is not None and found[one] != kib:
                wrong.append("%s: %s is %d KiB, not %d" %
                             (c.session, one, found[one], kib))
        for one in set(found) - set(c.mine) - set(c.doubtful):
            wrong.append("%s: %s is nobody's" % (c.session, one))
    for session, found in there.items():
        wrong.append("%s: %r" % (session, found))
    return wrong


def check_sums():
    s = status()
    h = s["host"]
    reserved = sum(r["amount_kib"] for r in s["reservations"]
                   if r["in_transfer"] is None)
    assert h["reserved_kib"] == reserved, (h["reserved_kib"], reserved)
    assert h["free_kib"] + h["scrub_kib"] == (
        h["host_reserve_kib"] + h["cushion_kib"] + h["reserved_kib"] +
        h["growth_allowed_kib"] + h["promised_kib"] + h["headroom_kib"]), h
    assert not s["queue"], s["queue"]


def run_clients(seconds):
    global END
    END = time.monotonic() + seconds
    clients = [Client(i) for i in range(CLIENTS)]
    for c in clients:
        c.start()
    for c in clients:
        c.join()
    errors = [c.error for c in clients if c.error]
    for error in errors[:10]:
        print("FAILED:", error)
    settled(lambda: not wrong_reservations(clients) and
            not status()["queue"])
    wrong = wrong_reservations(clients)
    for what in wrong[:10]:
        print("FAILED:", what)
    check_sums()
    print("%d calls, %d cuts, %d reservations left" %
          (sum(c.calls for c in clients), sum(c.cuts for c in clients),
           sum(len(c.mine) for c in clients)))
    for c in clients:
        c.mine.clear()
        c.login()
        c.close()
    return len(errors) + len(wrong)


def main():
    random.seed(SEED)
    print("seed %d" % SEED)
    files_before = files()
    failed = 0
    sizes = []
    for _ in range(PHASES):
        failed += run_clients(SECONDS / PHASES)
        sizes.append(memory())
    if not settled(lambda: files() == files_before):
        print("FAILED: %d files are open, %d before" % (files(), files_before))
        failed += 1
    print("memory after each phase, KiB:", *sizes)
    if sizes[-1] > sizes[0] + GROWTH:
        print("FAILED: it grew by more than %d KiB" % GROWTH)
        failed += 1
    return 1 if failed else 0


END = 0
if __name__ == "__main__":
    sys.exit(main())

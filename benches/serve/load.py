#!/usr/bin/env python3
"""What a crowd, a hog, a slow client and a cancelled one do to a server. Only the standard library is needed.

    python benches/serve/load.py target/release/picnic nano
    python benches/serve/load.py target/release/picnic MODEL --only crowd --clients 300 -- --weights q8
    python benches/serve/load.py --peer http://127.0.0.1:8000 --peer-pid PID      another server, started by hand

Picnic is started on a free port with its default settings (and with what stands after `--`), and stopped at the end. The
parts, each with what it must show:

    crowd     so many clients at once, each with its own prompt and a stream of its own: all are answered in full
    fair      a short request beside long ones takes no more than a few times as long as alone, and the long ones keep together
    cancel    a stream that is closed in its middle frees its place within half a second
    huge      four prompts of 4 MB at once are refused within milliseconds and cost less than 100 MB
    slow      clients that send half a head, half a body, a byte a second or nothing are cut off within 35 s
    deaf      a client that never reads its stream holds nobody up
    idle      a thousand idle connections hold nobody up

Times are in milliseconds; "first" is from the start of the connection to the first piece of text, "between" from one piece to
the next of one stream. Memory is the peak of the server's resident set (VmHWM), reset before each part where the system lets us.
Every line begins with `ok` or `FAILED`; the exit code is 1 if one failed. With --peer, what a part says of another server is
a comparison, not a verdict, so the exit code is 0.
"""

import argparse
import asyncio
import json
import os
import re
import resource
import socket
import statistics
import subprocess
import sys
import time
from urllib.parse import urlsplit

FAILED = []


def say(good, part, text):
    """One line of the result."""
    if not good:
        FAILED.append(part)
    print(f"{'ok' if good else 'FAILED'} {part}: {text}", flush=True)


def shares(values):
    """The median and the 99th percentile, as text in milliseconds."""
    if not values:
        return "none"
    ordered = sorted(values)
    return f"p50 {statistics.median(ordered) * 1000:.0f}, p99 {ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1000:.0f} ms"


class Server:
    """Where the server listens and, if it runs on this machine, its process."""

    def __init__(self, host, port, model, pid, key):
        self.host, self.port, self.model, self.pid, self.key = host, port, model, pid, key

    def reset(self):
        """Makes the peak of memory the present memory."""
        if self.pid:
            try:
                with open(f"/proc/{self.pid}/clear_refs", "w") as file:
                    file.write("5")
            except OSError:
                pass

    def memory(self, name="VmHWM"):
        """A figure of the process's memory in MB, or None if it is not known."""
        if not self.pid:
            return None
        with open(f"/proc/{self.pid}/status") as file:
            return int(re.search(rf"{name}:\s+(\d+)", file.read()).group(1)) / 1024

    def head(self, path, length, close=True):
        """A request's head."""
        key = f"Authorization: Bearer {self.key}\r\n" if self.key else ""
        return (f"POST {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n{key}Content-Type: application/json\r\n"
                f"Content-Length: {length}\r\n{'Connection: close' + chr(13) + chr(10) if close else ''}\r\n").encode()


class Answer:
    """What came back: the status, the times of the pieces of text, and whether the end of the stream was seen."""

    def __init__(self):
        self.status, self.started, self.times, self.text, self.ended, self.error, self.finish = None, time.monotonic(), [], "", False, None, None

    def first(self):
        return self.times[0] - self.started

    def total(self):
        return (self.times[-1] if self.times else time.monotonic()) - self.started

    def between(self):
        return [two - one for one, two in zip(self.times, self.times[1:])]


async def read_head(reader):
    """The status and the fields of an answer's head."""
    status = int((await reader.readline()).split()[1])
    fields = {}
    while (line := (await reader.readline()).strip()):
        name, _, value = line.decode("latin1").partition(":")
        fields[name.lower()] = value.strip().lower()
    return status, fields


async def pieces(reader, fields):
    """The body in the pieces in which it came."""
    if fields.get("transfer-encoding") == "chunked":
        while True:
            line = await reader.readline()
            if not line:
                raise asyncio.IncompleteReadError(b"", None)
            if not (size := int(line.split(b";")[0], 16)):
                break
            yield await reader.readexactly(size)
            await reader.readexactly(2)
    elif "content-length" in fields:
        yield await reader.readexactly(int(fields["content-length"]))
    else:
        while (piece := await reader.read(65536)):
            yield piece


async def chat(server, prompt, tokens, stop_after=None, timeout=600, **settings):
    """One streamed chat completion; with `stop_after` the connection is closed after so many pieces of text."""
    answer = Answer()
    writer = None
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(server.host, server.port)
            body = json.dumps({"model": server.model, "messages": [{"role": "user", "content": prompt}], "max_tokens": tokens,
                               "stream": True, **settings}).encode()
            writer.write(server.head("/v1/chat/completions", len(body)) + body)
            answer.status, fields = await read_head(reader)
            rest = b""
            async for piece in pieces(reader, fields):
                rest += piece
                *lines, rest = rest.split(b"\n")
                for line in lines:
                    if line.startswith(b"data: [DONE]"):
                        answer.ended = True
                    elif line.startswith(b"data: "):
                        event = json.loads(line[6:])
                        if event.get("error"):
                            answer.error = event["error"]
                        for choice in event.get("choices", []):
                            answer.finish = choice.get("finish_reason") or answer.finish
                            delta = choice.get("delta") or {}
                            if (text := delta.get("content") or delta.get("reasoning_content")):
                                answer.text += text
                                answer.times.append(time.monotonic())
                if stop_after is not None and len(answer.times) >= stop_after:
                    return answer
            if answer.status != 200:
                answer.error = rest.decode(errors="replace")[:200]
    except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError, IndexError) as error:
        answer.error = "the connection ended early" if isinstance(error, asyncio.IncompleteReadError) else f"{type(error).__name__} {error}"
    finally:
        if writer:
            writer.close()
    return answer


async def get(server, path):
    """The text of a page."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    key = f"Authorization: Bearer {server.key}\r\n" if server.key else ""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {server.host}:{server.port}\r\n{key}Connection: close\r\n\r\n".encode())
    status, fields = await read_head(reader)
    text = b"".join([piece async for piece in pieces(reader, fields)]).decode()
    writer.close()
    return status, text


async def running(server):
    """How many requests the server's own metrics say are being answered, or None."""
    try:
        _, text = await get(server, "/v1/metrics")
        return sum(float(line.split()[-1]) for line in text.splitlines() if re.match(r"\S*num_requests_running\b", line))
    except (OSError, ValueError):
        return None


def prompt_of(number):
    """A prompt that no other client has, so that nothing of it but the template can be known already."""
    return f"{number * 7919 % 997}: tell me about the number {number} and its neighbours {number * 31 % 89} and {number * 17 % 83}."


async def crowd(server, args):
    """So many clients at once."""
    server.reset()
    start = time.monotonic()
    answers = await asyncio.gather(*[chat(server, prompt_of(n), args.tokens, temperature=0.7, seed=n) for n in range(args.clients)])
    seconds = time.monotonic() - start
    good = [answer for answer in answers if answer.status == 200 and answer.ended and not answer.error]
    bad = [answer for answer in answers if answer not in good]
    kinds = {}
    for answer in bad:
        kind = f"{answer.status} {answer.error}"[:120]
        kinds[kind] = kinds.get(kind, 0) + 1
    heard = [answer for answer in good if answer.times]
    count = sum(len(answer.times) for answer in heard)
    say(not bad, "crowd", f"{len(good)} of {args.clients} answered in {seconds:.1f} s, {count / seconds:.0f} pieces/s; "
        f"first {shares([answer.first() for answer in heard])}; between {shares([gap for answer in heard for gap in answer.between()])}"
        + (f"; peak {server.memory():.0f} MB" if server.pid else "") + (f"; refused: {kinds}" if kinds else ""))


async def fair(server, args):
    """A short request alone, and then beside four long ones."""
    short = lambda n: chat(server, prompt_of(1000 + n), 8)
    alone = min([(await short(n)).total() for n in range(3)])

    async def hog(number):
        """Asks for one long answer after the other until it is cancelled."""
        turn = 0
        while True:
            await chat(server, "Write a long story. " + prompt_of(2000 + number + 10 * turn), args.long, temperature=1.2, seed=number)
            turn += 1

    hogs = [asyncio.create_task(hog(n)) for n in range(4)]
    await asyncio.sleep(0.3)
    beside = [(await short(100 + n)).total() for n in range(10)]
    for one in hogs:
        one.cancel()
    await asyncio.gather(*hogs, return_exceptions=True)
    say(max(beside) < 12 * alone + 0.5, "fair",
        f"a short request takes {alone * 1000:.0f} ms alone, beside four long ones {shares(beside)} (n = {len(beside)})")
    answers = await asyncio.gather(*[chat(server, "Write a long story. " + prompt_of(2500 + n), args.long, temperature=1.2, seed=n) for n in range(4)])
    speeds = [len(answer.times) / answer.total() for answer in answers if answer.times]
    say(bool(speeds) and max(speeds) < 3 * min(speeds), "fair",
        f"four long requests at once run at {min(speeds):.0f} to {max(speeds):.0f} pieces/s ({[len(answer.times) for answer in answers]} pieces)")


async def cancel(server, args):
    """Streams closed in their middle, and how soon the server knows."""
    waits = []
    for n in range(5):
        answer = await chat(server, "Write a long story. " + prompt_of(3000 + n), args.long, stop_after=3, temperature=1.2, seed=n)
        if len(answer.times) < 3:
            continue
        start = time.monotonic()
        while (now := await running(server)) and time.monotonic() - start < 20:
            await asyncio.sleep(0.01)
        if now is None:
            say(True, "cancel", "the server shows no num_requests_running, so only the next answer can be timed: "
                f"{(await chat(server, 'Hi', 4)).total() * 1000:.0f} ms")
            return
        waits.append(time.monotonic() - start)
    # And a crowd that all leaves at once.
    await asyncio.gather(*[chat(server, prompt_of(4000 + n), args.long, stop_after=1, temperature=1.2, seed=n) for n in range(40)])
    start = time.monotonic()
    next_one = await chat(server, "Hi", 4)
    after = time.monotonic() - start
    while await running(server) and time.monotonic() - start < 20:
        await asyncio.sleep(0.01)
    gone = time.monotonic() - start
    say(bool(waits) and max(waits) < 0.5 and next_one.status == 200 and gone < 3, "cancel",
        f"a place is free again after {max(waits or [0]) * 1000:.0f} ms at most (n = {len(waits)}); after 40 streams left at once the next "
        f"request took {after * 1000:.0f} ms and all places were free after {gone * 1000:.0f} ms")


async def post(server, path, body):
    """The status, the time until it came and the first words of an answer to a ready body."""
    start = time.monotonic()
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(server.head(path, len(body)) + body)
    sent = time.monotonic()
    try:
        status, fields = await read_head(reader)
        came = time.monotonic()
        text = b"".join([piece async for piece in pieces(reader, fields)]).decode(errors="replace")
    except (OSError, IndexError, asyncio.IncompleteReadError) as error:
        status, came, text = None, time.monotonic(), f"{type(error).__name__} {error}"
    writer.close()
    return status, came - start, text[:200], sent - start


async def huge(server, args):
    """Prompts of 4 MB: of one word, of no spaces, of Chinese, and of many messages, each on three routes."""
    texts = ["word " * 800_000, "x" * 4_000_000, "\u6c34" * 1_333_000, None]
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/v1/embeddings", "/tokenize"):
        bodies = []
        for text in texts:
            messages = [{"role": "user", "content": text}] if text else [{"role": "user", "content": "hi " * 10}] * 60_000
            text = text or "hi\n" * 1_300_000
            rest = {"/v1/completions": {"prompt": text, "max_tokens": 4}, "/v1/responses": {"input": text}, "/v1/embeddings": {"input": text},
                    "/tokenize": {"content": text, "prompt": text}}.get(path, {"messages": messages, "max_tokens": 4})
            bodies.append(json.dumps({"model": server.model, **rest}, ensure_ascii=False).encode())
        server.reset()
        before = server.memory()
        start = time.monotonic()
        found = await asyncio.gather(*[post(server, path, body) for body in bodies])
        seconds = time.monotonic() - start
        cost = server.memory() - before if server.pid else 0
        statuses = [status for status, *_ in found]
        fit = path == "/tokenize" or all(status in (400, 413, 422) for status in statuses)
        say(fit and cost < 100 and seconds < 1, f"huge {path}",
            f"four of 4 MB: {statuses} in {seconds * 1000:.0f} ms" + (f", {cost:.0f} MB more" if server.pid else ""))
        for status, _, text, _ in found:
            if args.verbose:
                print("    ", status, text)


async def hang(server, data, drip=None):
    """Sends this, then a byte of the drip each second, and says how long the server kept the connection and what it said last."""
    start = time.monotonic()
    reader, writer = await asyncio.open_connection(server.host, server.port)
    said = b""
    try:
        writer.write(data)
        await writer.drain()
        while time.monotonic() - start < 75:
            try:
                async with asyncio.timeout(1):
                    piece = await reader.read(4096)
                if not piece:
                    break
                said += piece
            except TimeoutError:
                if drip:
                    writer.write(drip)
                    await writer.drain()
        else:
            return None, said
    except OSError:
        pass
    finally:
        writer.close()
    return time.monotonic() - start, said


async def slow(server, args):
    """Clients that never come to the point, all at once, while others are served."""
    head = server.head("/v1/chat/completions", 5000)
    kinds = {
        "nothing at all": (b"", None),
        "half a head": (head[:60], None),
        "a head, a byte a second": (head[:-2] + b"X-Slow: ", b"a"),
        "half a body": (head + b'{"model": "', None),
        "a body, a byte a second": (head + b'{"model": "', b"a"),
    }
    waiting = [asyncio.create_task(hang(server, data, drip)) for data, drip in kinds.values()]
    meanwhile = [(await chat(server, prompt_of(5000 + n), 4)).status for n in range(5)]
    for name, (seconds, said) in zip(kinds, await asyncio.gather(*waiting)):
        last = said.split(b"\r\n")[0].decode(errors="replace")
        say(seconds is not None and seconds < 35, "slow", f"{name}: " + (f"cut off after {seconds:.1f} s" if seconds else "still held after 75 s")
            + (f", with {last!r}" if last else ", without a word"))
    say(meanwhile == [200] * 5, "slow", f"meanwhile others got {meanwhile}")


async def deaf(server, args):
    """Clients that ask for a stream and do not read it."""
    server.reset()
    sockets = []
    for n in range(8):
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        one.connect((server.host, server.port))
        body = json.dumps({"model": server.model, "messages": [{"role": "user", "content": "Write a long story. " + prompt_of(6000 + n)}],
                           "max_tokens": args.long, "stream": True, "temperature": 1.2}).encode()
        one.sendall(server.head("/v1/chat/completions", len(body)) + body)
        sockets.append(one)
    await asyncio.sleep(0.5)
    found = [await chat(server, prompt_of(6100 + n), 8) for n in range(5)]
    for one in sockets:
        one.close()
    say(all(answer.status == 200 and answer.ended for answer in found), "deaf",
        f"beside 8 clients that never read, others took {shares([answer.total() for answer in found])}" + (f"; peak {server.memory():.0f} MB" if server.pid else ""))


async def idle(server, args):
    """A thousand connections, half of them after a first answered request, that then do nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    server.reset()
    before = server.memory("VmRSS")
    held, refused = [], 0
    for n in range(args.idle):
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(server.host, server.port), 5)
            if n % 2:
                writer.write(f"GET /v1/health/live HTTP/1.1\r\nHost: {server.host}:{server.port}\r\n\r\n".encode())
            held.append((reader, writer))
        except (OSError, TimeoutError):
            refused += 1
    found = [await chat(server, prompt_of(7000 + n), 8, timeout=20) for n in range(10)]
    cost = server.memory("VmRSS") - before if server.pid else 0
    for _, writer in held:
        writer.close()
    say(all(answer.status == 200 and answer.ended for answer in found), "idle",
        f"with {len(held)} idle connections ({refused} refused) others took {shares([answer.total() for answer in found])}"
        + (f"; {cost:.0f} MB more" if server.pid else "") + "".join(f"; {answer.error}" for answer in found if answer.error))


PARTS = [crowd, fair, cancel, huge, deaf, idle, slow]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def main():
    parser = argparse.ArgumentParser(usage="%(prog)s [options] [program] [model] [-- settings of the server]", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", nargs="?", help="Picnic's binary")
    parser.add_argument("model", nargs="?", default="nano", help="what it serves")
    parser.add_argument("--peer", help="the URL of another server, which is running already")
    parser.add_argument("--peer-pid", type=int, help="its process, to see its memory")
    parser.add_argument("--peer-model", help="the name to ask it for")
    parser.add_argument("--key", help="an API key")
    parser.add_argument("--clients", type=int, default=300)
    parser.add_argument("--tokens", type=int, default=32, help="tokens of an answer in the crowd")
    parser.add_argument("--long", type=int, default=600, help="tokens of a long answer")
    parser.add_argument("--idle", type=int, default=1000)
    parser.add_argument("--only", action="append", choices=[part.__name__ for part in PARTS])
    parser.add_argument("--verbose", action="store_true")
    at = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    args = parser.parse_args(sys.argv[1:at])
    child = None
    if args.peer:
        place = urlsplit(args.peer)
        server = Server(place.hostname, place.port or 80, args.peer_model, args.peer_pid, args.key)
    elif args.program:
        port = free_port()
        start = time.monotonic()
        child = subprocess.Popen([args.program, "serve", args.model, "--port", str(port), *sys.argv[at + 1:]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        server = Server("127.0.0.1", port, None, child.pid, args.key)
    else:
        parser.error("name Picnic's binary or a --peer")
    try:
        while child:
            try:
                if asyncio.run(get(server, "/v1/health/ready"))[0] == 200:
                    say(True, "start", f"ready after {(time.monotonic() - start) * 1000:.0f} ms, {server.memory():.0f} MB")
                    break
            except (OSError, IndexError):
                pass
            if time.monotonic() - start > 60 or child.poll() is not None:
                sys.exit("the server did not start")
            time.sleep(0.01)
        server.model = server.model or json.loads(asyncio.run(get(server, "/v1/models"))[1])["data"][0]["id"]
        for part in PARTS:
            if not args.only or part.__name__ in args.only:
                asyncio.run(part(server, args))
            if child and child.poll() is not None:
                say(False, part.__name__, f"the server ended with {child.returncode}")
                break
    finally:
        if child and child.poll() is None:
            child.terminate()
            begin = time.monotonic()
            try:
                child.wait(20)
                say(child.returncode in (0, -15, 143), "end", f"SIGTERM ended it after {(time.monotonic() - begin) * 1000:.0f} ms with {child.returncode}")
            except subprocess.TimeoutExpired:
                child.kill()
                say(False, "end", "SIGTERM did not end it in 20 s")
    sys.exit(1 if FAILED and not args.peer else 0)


if __name__ == "__main__":
    main()

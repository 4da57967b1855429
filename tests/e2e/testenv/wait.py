"""Waiting for events, each with a deadline; and for bytes, which come in pieces."""

import time


class NeverCame(AssertionError):
    pass


def wait_until(predicate, what, seconds=20.0):
    """Returns what `predicate` returns once that is true. `what` names the event for whoever reads the
    failure; it may be a function, asked at the end."""
    deadline = time.monotonic() + seconds
    pause = 0.002
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise NeverCame(f"no {what() if callable(what) else what} within {seconds} s")
        time.sleep(pause)  # between two looks, not instead of one
        pause = min(pause * 1.5, 0.05)


def wait_settled(number, seconds=20.0, quiet=0.7):
    """Waits until `number()` has not changed for `quiet` seconds: whoever makes it grow is blocked."""
    deadline = time.monotonic() + seconds
    last, since = number(), time.monotonic()
    while time.monotonic() - since < quiet:
        if time.monotonic() > deadline:
            raise NeverCame(f"it still grows after {seconds} s: {last}")
        time.sleep(0.02)
        now = number()
        if now != last:
            last, since = now, time.monotonic()
    return last


def exactly(sock, size):
    """So many bytes of a stream, in however many pieces they come."""
    data = bytearray()
    while len(data) < size:
        more = sock.recv(min(size - len(data), 1 << 20))
        if not more:
            raise ConnectionError(f"ended after {len(data)} of {size} bytes: {bytes(data[-100:])!r}")
        data += more
    return bytes(data)

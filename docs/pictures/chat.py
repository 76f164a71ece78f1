#!/usr/bin/env python3
"""Records a conversation with the built-in model in a terminal as an SVG that moves.

    pip install pyte
    python docs/pictures/chat.py target/release/picnic docs/pictures/chat.svg
    python docs/pictures/chat.py target/release/picnic docs/pictures/chat-40.svg --columns 40 --last

Answers are the likeliest ones (temperature 0), so the same model says the same again. Needs a system with pseudo-terminals.
"""

import argparse
import fcntl
import html
import itertools
import os
import pty
import select
import signal
import struct
import sys
import tempfile
import termios
import time

import pyte

QUESTIONS = ["what is 347+289?", "spell picnic", "Use 25, 3, 19 to make 41.", "сколько будет 24*13?", "who is the queen?"]
CELL_WIDTH, CELL_HEIGHT, MARGIN = 8.4, 18, 14
GROUND, PLAIN, DIM = "#14171c", "#d8dce2", "#8a919c"
COLOURS = {"default": PLAIN, "brightblack": DIM, "red": "#e06c75", "green": "#98c379", "brown": "#e5c07b",
           "blue": "#61afef", "magenta": "#c678dd", "cyan": "#56b6c2", "white": PLAIN}


class Terminal:
    """A program in a pseudo-terminal, and what its screen showed when."""

    def __init__(self, command, columns, rows, home):
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.frames = []  # (seconds, lines of cells, cursor)
        self.clock = 0.0
        self.process, self.file = pty.fork()
        if self.process == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            keep = {key: os.environ[key] for key in ("PATH", "LANG", "LC_ALL") if key in os.environ}
            os.execve(command[0], command, keep | {"HOME": home, "TERM": "xterm-256color"})

    def read(self, quiet):
        """Feeds the screen until the program has said nothing for `quiet` seconds; False at its end."""
        while select.select([self.file], [], [], quiet)[0]:
            try:
                data = os.read(self.file, 65536)
            except OSError:
                return False
            if not data:
                return False
            # pyte knows no faint text; a grey does as well.
            self.stream.feed(data.replace(b"\x1b[2m", b"\x1b[90m").replace(b"\x1b[22m", b"\x1b[39;22m"))
        return True

    def wait_for_prompt(self):
        """Reads on until the last line of the screen that has anything is an empty prompt."""
        while self.read(0.3):
            lines = [line.rstrip() for line in self.screen.display]
            if [line for line in lines if line][-1:] == [">"]:
                return

    def show(self, seconds):
        """Keeps what the screen shows for so long."""
        cells = [[self.screen.buffer[y][x] for x in range(self.screen.columns)] for y in range(self.screen.lines)]
        self.frames.append((self.clock, cells, (self.screen.cursor.x, self.screen.cursor.y)))
        self.clock += seconds

    def type(self, text):
        for character in text:
            os.write(self.file, character.encode())
            self.read(0.03)
            self.show(0.05)


def line_of(cells, y):
    """A line of the screen as SVG text."""
    out, x = [], 0
    for (colour, bold), run in itertools.groupby(cells, key=lambda cell: (cell.fg, cell.bold)):
        text = "".join(cell.data for cell in run)
        if text.strip():
            left, base = MARGIN + x * CELL_WIDTH, MARGIN + y * CELL_HEIGHT + 13
            weight = ' font-weight="bold"' if bold else ""
            out.append(f'<text x="{left:.1f}" y="{base}" textLength="{len(text) * CELL_WIDTH:.1f}" '
                       f'xml:space="preserve" fill="{COLOURS.get(colour, PLAIN)}"{weight}>{html.escape(text)}</text>')
        x += len(text)
    return "".join(out)


def cursor_of(x, y):
    left, top = MARGIN + x * CELL_WIDTH, MARGIN + y * CELL_HEIGHT
    return f'<rect x="{left:.1f}" y="{top}" width="{CELL_WIDTH}" height="{CELL_HEIGHT - 2}" fill="{DIM}"/>'


def svg(frames, total, columns, rows):
    """Each line of the screen, for as long as it stands there."""
    starts = [start for start, _, _ in frames] + [total]
    histories = [[line_of(cells[y], y) for _, cells, _ in frames] for y in range(rows)]
    histories.append([cursor_of(*cursor) for _, _, cursor in frames])
    style, body = [], []
    for drawings in histories:
        at = 0
        for drawing, run in itertools.groupby(drawings):
            first, at = at, at + len(list(run))
            if not drawing:
                continue
            if (first, at) == (0, len(frames)):
                body.append(drawing)
                continue
            name = f"t{len(style)}"
            begin, end = (100 * starts[place] / total for place in (first, at))
            steps = [(0, first == 0), (begin, True), (end, at == len(frames)), (100, at == len(frames))]
            steps = "".join(f"{when:.3f}%{{visibility:{'visible' if seen else 'hidden'}}}" for when, seen in steps)
            style.append(f"@keyframes {name}{{{steps}}}#{name}{{animation:{name} {total:.2f}s step-end infinite}}")
            # A viewer that shows no movement shows the last frame.
            hidden = "" if at == len(frames) else ' visibility="hidden"'
            body.append(f'<g id="{name}"{hidden}>{drawing}</g>')
    width, height = columns * CELL_WIDTH + 2 * MARGIN, rows * CELL_HEIGHT + 2 * MARGIN
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
            "font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"14\">\n"
            f'<style>{"".join(style)}</style>\n<rect width="100%" height="100%" rx="8" fill="{GROUND}"/>\n'
            + "\n".join(body) + "\n</svg>\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("picture")
    parser.add_argument("--columns", type=int, default=84)
    parser.add_argument("--rows", type=int, default=26)
    parser.add_argument("--last", action="store_true", help="only the last frame, without movement")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        command = [os.path.abspath(args.program), "chat", "--temperature", "0"]
        terminal = Terminal(command, args.columns, args.rows, home)
        terminal.wait_for_prompt()
        terminal.show(2.5)
        for question in QUESTIONS:
            terminal.type(question)
            os.write(terminal.file, b"\r")
            terminal.wait_for_prompt()
            terminal.show(2.2)
        terminal.clock += 3
        os.kill(terminal.process, signal.SIGTERM)
        os.waitpid(terminal.process, 0)
    frames = terminal.frames[-1:] if args.last else terminal.frames
    with open(args.picture, "w", encoding="utf-8") as picture:
        picture.write(svg(frames, terminal.clock, args.columns, args.rows))
    print(f"{args.picture}: {len(frames)} frames", file=sys.stderr)


if __name__ == "__main__":
    main()

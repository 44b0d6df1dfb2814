"""check_html.py PAGE REPORT.json SECTION...: a page is well-formed, asks for nothing, and has the numbers of its report."""

import html.parser
import json
import re
import sys

VOID = {"meta", "link", "br", "img", "path", "rect", "circle", "input", "hr"}
MAY_LOAD = {"src", "href", "action", "data", "poster", "srcset", "formaction", "xlink:href"}


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.ids, self.cells, self.links = [], set(), [], []
        self.figures = self.tables = self.scripts = 0
        self.cell, self.shown = None, []
        self.counts = []

    def handle_starttag(self, tag, attributes):
        names = dict(attributes)
        assert len(names) == len(attributes), f"an attribute stands twice in {tag} {attributes}"
        for name, value in attributes:
            assert not name.startswith("on"), (tag, name)
            if name in MAY_LOAD:
                assert value.startswith(("#", "data:")), f"{tag} asks for {value[:80]}"
                self.links.append(value)
        assert tag not in {"iframe", "object", "embed", "base"}, tag
        if "id" in names:
            assert names["id"] not in self.ids, names["id"]
            self.ids.add(names["id"])
        if "data-at" in names:
            self.cells.append((names["data-at"], names["data-value"]))
        self.cell = names.get("data-value") if tag in {"td", "p"} else None
        if tag == "figure":
            self.counts.append({"figcaption": 0, "table": 0, "p": 0, "svg": 0})
        for seen in self.counts[-1:] if "figure" in self.open or tag == "figure" else []:
            if tag in seen:
                seen[tag] += 1
        self.scripts += tag == "script"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_data(self, text):
        if self.cell is not None:
            self.shown.append((self.cell, text.strip()))
            self.cell = None

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]} at {self.getpos()}"
        self.open.pop()


def resolve(document, pointer):
    for part in pointer.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document


page_file, report_file, sections = sys.argv[1], sys.argv[2], sys.argv[3:]
text = open(page_file, encoding="utf-8").read()
report = json.load(open(report_file, encoding="utf-8"))
page = Page()
page.feed(text)
page.close()
assert not page.open, page.open
for word in ("@import", "url(", "http://", "https://"):
    style = text[text.index("<style>"):text.index("</style>")] + text[text.rindex("<script>"):]
    assert word not in style, word
for pointer, value in page.cells:
    assert json.loads(value) == resolve(report, pointer), (pointer, value, resolve(report, pointer))
assert len(page.cells) > 20, len(page.cells)
# What a person reads is the value, rounded.
UNITS = {"s": 1, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
for value, words in page.shown:
    read = re.match(r"(?:AU )?(-?[\d.]+)(?: (\S+))?$", words)
    if not read:
        assert not re.match(r"-?\d", value) or words == "-", (value, words)
        continue
    number, unit = read.groups()
    step = 10.0 ** -len(number.partition(".")[2])
    factor = UNITS.get(unit, 1)
    # Times stand in seconds or nanoseconds.
    factors = (factor, factor * 1e9) if unit in ("s", "ms", "us", "ns") else (factor, 1)
    near = [abs(float(number) * f - float(value)) <= 0.51 * step * f + 1e-12 * abs(float(value)) for f in factors]
    assert any(near), (value, words)
assert len(page.shown) >= len(page.cells), (len(page.shown), len(page.cells))
for seen in page.counts:
    assert seen["figcaption"] == 1 and seen["table"] >= 1 and seen["p"] >= 1 and seen["svg"] >= 1, seen
for section in sections:
    assert section in page.ids, (section, page.ids)
data = [link for link in page.links if link.startswith("data:application/json")]
if data:
    import urllib.parse
    carried = json.loads(urllib.parse.unquote(data[0].split(",", 1)[1]))
    assert carried == report or "ranks" not in carried
print(len(text), "bytes,", len(page.cells), "numbers,", len(page.counts), "charts")

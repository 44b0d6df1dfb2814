"""check_paper.py PAGE.html PAGE.pdf: what the page has in headings, captions and tables is on its print, whole."""

import html.parser
import re
import subprocess
import sys

HEADINGS = {"h1", "h2", "h3", "figcaption"}


class Page(html.parser.HTMLParser):
    """Texts that stand together: a heading, or a row of a table."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.texts, self.widest, self.cells = [], 0, 0
        self.collects = False

    def handle_starttag(self, tag, attributes):
        if tag in HEADINGS or tag == "tr" or dict(attributes).get("class") == "big":
            self.texts.append("")
            self.collects, self.cells = True, 0
        self.cells += tag in {"td", "th"}
        self.widest = max(self.widest, self.cells)

    def handle_endtag(self, tag):
        if tag in HEADINGS or tag in {"tr", "p"}:
            self.collects = False

    def handle_data(self, text):
        if self.collects:
            self.texts[-1] += text


def packed(text):
    """Without blanks: lines break elsewhere on paper."""
    return re.sub(r"\s+", "", text)


page = Page()
page.feed(open(sys.argv[1], encoding="utf-8").read())
page.close()
# In the order in which it is painted, cell by cell; what lies beside the paper or is clipped is left out.
printed = subprocess.run(["pdftotext", "-raw", "-enc", "UTF-8", sys.argv[2], "-"], check=True, capture_output=True)
printed = packed(printed.stdout.decode())
missing = [text for text in page.texts if packed(text) not in printed]
assert not missing, missing
assert len(page.texts) > 10 and page.widest > 4, (len(page.texts), page.widest)
print(len(page.texts), "headings and rows, the widest of", page.widest, "columns")

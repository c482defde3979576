"""Show what students wrote, and let it do nothing.

Formgrader, feedback pages and JupyterLab render the autograded notebook in the instructor's browser,
where Jupyter's own pages live: HTML, Markdown and TeX of a student's must run nothing, load nothing,
and pass for nothing of the page. So the file itself is made harmless: outputs keep what is on a list;
text looks as it did, with an invisible character where markup would have begun.
"""

import html
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from nbformat import NotebookNode, from_dict
from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.utils import compute_checksum, is_grade, is_solution

from ..verdict import MARK, MIME_TYPE
from .read import output_of
from .restore import is_prose

JOINER = "\u2060"  # a word joiner: it has no width and begins no markup

# --- HTML: what is not on a list is left out.

TAGS = set(
    "a b blockquote br caption code col colgroup dd del div dl dt em figcaption figure h1 h2 h3 h4 h5 h6 "
    "hr i img ins kbd li mark ol p pre q s small span strong sub sup table tbody td tfoot th thead tr u "
    "ul".split()
)
WEB = r"(?:https?://|mailto:|#)"
PICTURE = r"data:image/(?:png|jpeg|gif|svg\+xml);base64,[A-Za-z0-9+/=]+"
ATTRIBUTES = {  # and what a value must look like
    ("a", "href"): re.compile(WEB + ".*", re.IGNORECASE | re.DOTALL),
    ("img", "src"): re.compile(PICTURE),
    ("img", "alt"): re.compile(".{0,1000}", re.DOTALL),
    ("img", "width"): re.compile(r"\d{1,4}"),
    ("img", "height"): re.compile(r"\d{1,4}"),
    ("table", "class"): re.compile("dataframe"),  # as pandas has it; others would pass for the page's own
    ("table", "border"): re.compile(r"\d"),
    **{(tag, side): re.compile(r"\d{1,3}") for tag in ("td", "th") for side in ("colspan", "rowspan")},
}
STYLE = re.compile(
    r"((background-)?color|font-(style|weight)|max-width|(text|vertical)-align) ?: ?[\w#.% -]{1,40}"
)
MOST_TAGS, DEEPEST = 20_000, 100  # browsers and nbconvert take long for more, or fail

# --- Markdown and TeX: where one of these matches, the invisible character comes behind it.

BARE = "b|br|code|del|em|hr|i|ins|kbd|mark|s|small|strong|sub|sup|u"  # tags that stay, without attributes
BREAKS = [
    re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    for pattern in (
        r"!(?=\[)",  # an image, but for IMAGE
        rf"<(?!/?(?:{BARE})\s*/?>)(?=[a-z/!?\0])",  # a tag, a comment, an address
        rf"\](?=\(\s*(?!<?{WEB}|\s)|:\s*(?!<?{WEB}|\s))",  # a link, and what it refers to
        r"&(?=\\*#|bsol)",  # a backslash or a letter by its number
        # A drawing in a fence, whose source pages have as it is.
        rf"(?:(?<!`)`{{3,}}+|(?<!~)~{{3,}}+)(?!{JOINER}|[ \t]*(?!mermaid)[\w+#.-]*[ \t]*$)",
        # Headings are named by their text, as the page's own fields are by the cells'.
        rf"^[ \t>*+:.)\d-]*#{{1,6}}+[ \t]*(?=[^\s#{JOINER}])",
        rf"(?<=[^\s{JOINER}])(?=[ \t]*\n[ \t>]*(?:=+|-+)[ \t]*$)",
    )
]
# TeX that reaches HTML, addresses or other places of the page, or gives a command another meaning.
TEX = re.compile(
    r"\\(?=bbox|begingroup|class|csname|cssId|data|DeclareMathOperator|[egx]?def|futurelet|global|href|html"
    r"|includegraphics|input|let|lower|mmlToken|move|(?:re)?new(?:command|environment)|providecommand|raise"
    r"|require|[Rr]ule|[Ss]pace|style|unicode|url)"
)
IMAGE = re.compile(
    r"!\[([^\[\]\\\n\0]*)\]\((?:attachment:([^()\s<>\0]+)|(data:image/(?:png|jpeg|gif);base64,[\w+/=]+))\)",
    re.ASCII,
)
MOST_PROSE = 20_000  # characters: nbconvert's time grows with their square
LINE_END = re.compile("\r\n?|[\u2028\u2029]")

# --- Text: colours stay, other escape sequences and control characters go.

COLOUR = re.compile(r"\x1b\[[\d;]{0,20}m")
CONTROL = re.compile(
    r"\x1b\[(?![\d;]{0,20}m)[0-?]*[ -/]*[@-~]?|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|\x1b(?!\[)"
    r"|[\0-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]"
)
MOST_COLOURS = 2_000  # nbconvert's time grows with their square


class Harmless(NbGraderPreprocessor):
    """Make harmless what a student wrote in cells of prose, and every output but a check's verdict.

    Runs after all that reads outputs, and before SaveAutoGrades. An answer nobody touched stays as it
    was handed out: nbgrader knows it by its checksum.
    """

    def preprocess_cell(
        self, cell: NotebookNode, resources: dict[str, Any], cell_index: int
    ) -> tuple[NotebookNode, dict[str, Any]]:
        """Make one cell harmless."""
        if is_prose(cell) and not untouched(cell):
            cell.source, pictures = markdown(cell.source, cell.pop("attachments", {}))
            if pictures:
                cell.attachments = from_dict(pictures)
        if cell.cell_type == "code":
            checked = is_grade(cell) and not is_solution(cell)
            outputs = [
                output if checked and {MARK, MIME_TYPE} & output.get("data", {}).keys() else shown(output)
                for output in cell.outputs
            ]
            cell.outputs = [output for output in outputs if output]
        return cell, resources


def untouched(cell: NotebookNode) -> bool:
    checksum = cell.metadata.get("nbgrader", {}).get("checksum")
    return checksum is not None and checksum == compute_checksum(cell)


def shown(output: dict[str, Any] | None) -> NotebookNode | None:
    """Return an output as it may be shown, or None."""
    output = output_of(output)
    if output is None:
        return None
    for key in output.keys() & {"text", "ename", "evalue"}:
        output[key] = text(output[key])
    if "traceback" in output:
        output["traceback"] = list(map(text, output["traceback"]))
    if "data" in output:
        data = output["data"]
        if drawing := data.pop("image/svg+xml", None):
            alt = output["metadata"].pop("image/svg+xml", {}).get("alt", "A drawing")
            source = b64encode(drawing.encode()).decode()
            data.setdefault(
                "text/html", f'<img alt="{html.escape(alt)}" src="data:image/svg+xml;base64,{source}">'
            )
        data |= {kind: clean(data[kind]) for kind, clean in CLEAN.items() if kind in data}
        output["data"] = {kind: content for kind, content in data.items() if content}
    return from_dict(output) if output.get("data", True) else None


def text(source: str) -> str:
    """Return text without control characters and escape sequences other than colours."""
    source = CONTROL.sub("", source)
    return source if len(COLOUR.findall(source)) <= MOST_COLOURS else COLOUR.sub("", source)


def tex(source: str) -> str:
    """Return text in which TeX draws formulas and does nothing else; pages typeset all their text."""
    return TEX.sub(lambda match: match[0] + JOINER, source)


def markdown(source: str, attachments: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return Markdown that can do nothing, and the attachments that it shows."""
    images: list[str] = []
    pictures: dict[str, Any] = {}

    def keep(match: re.Match[str]) -> str:
        alt, name, data = match.groups()
        if name:
            bundle = attachments.get(name) or attachments.get(unquote(name))
            if not bundle:
                return match[0]  # nbconvert stops at an image that is not there
            name = re.sub(r"[^\w.-]", "_", unquote(name), flags=re.ASCII)
            pictures[name] = bundle
        images.append(f"![{tex(alt)}]({f'attachment:{name}' if name else data})")
        return f"\0{len(images) - 1}\0"

    source = IMAGE.sub(keep, CONTROL.sub("", LINE_END.sub("\n", source)))
    if len(source) > MOST_PROSE:
        source = source[:MOST_PROSE] + "\n\n*… cut here*"
    for pattern in BREAKS:
        source = pattern.sub(lambda match: match[0] + JOINER, source)
    source = re.sub(r"\0(\d+)\0", lambda match: images[int(match[1])], tex(source))
    return source.replace("\0", ""), pictures


def page(source: str) -> str:
    """Return HTML with only the tags, attributes and addresses that are on the lists."""
    import nh3  # of an instructor's installation: a student has no use for it

    if source.count("<") <= MOST_TAGS:
        source = nh3.clean(
            source,
            tags=TAGS,
            attributes={tag: {name for of, name in ATTRIBUTES if of == tag} | {"style"} for tag in TAGS},
            attribute_filter=attribute,
            url_schemes={"http", "https", "mailto", "data"},
            link_rel=None,
        )
        if depth(source) <= DEEPEST:
            return tex(source)
    return "<p>This output has too many HTML elements to be shown.</p>"


def attribute(tag: str, name: str, value: str) -> str | None:
    """Return what an attribute's value may be, or None."""
    if name == "style":
        return "; ".join(part for part in map(str.strip, value.split(";")) if STYLE.fullmatch(part)) or None
    pattern = ATTRIBUTES.get((tag, name))  # nh3 asks of every attribute, and takes an exception for a yes
    return value if pattern and pattern.fullmatch(value) else None


def depth(source: str) -> int:
    """Return how deep a page's elements are nested."""
    deepest = now = 0
    for closing, tag in re.findall(r"<(/?)(\w+)", source):
        now += 0 if tag in ("br", "col", "hr", "img") else -1 if closing else 1
        deepest = max(deepest, now)
    return deepest


CLEAN: dict[str, Callable[[str], str]] = {
    "text/plain": text,
    "text/html": page,
    "text/latex": tex,
    "text/markdown": lambda source: markdown(source, {})[0],
}

"""Text as pmxcfs writes it to any log: ASCII alone (``cfs-utils.c: utf8_to_ascii``)."""

from __future__ import annotations

_CONTROL_END = 0x20
_DELETE = 0x7F
_BMP_END = 0x10000


def to_ascii(text: str, *, quote: bool) -> str:
    r"""Control characters as ``#010``, others as ``\u00e9``, nothing beyond the BMP; with ``quote`` ``"`` as ``\"``.

    In a text that is no UTF-8 every byte beyond ASCII is a question mark, also of the characters that are.
    """
    if text.isascii() and text.isprintable() and not (quote and '"' in text):
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        raw = text.encode(errors="surrogateescape")
        text = "".join(chr(byte) if byte < _DELETE else "?" for byte in raw)
    return "".join(_ascii(character, quote=quote) for character in text)


def _ascii(character: str, *, quote: bool) -> str:
    code = ord(character)
    if character == '"' and quote:
        return '\\"'
    if code < _CONTROL_END or code == _DELETE:
        return f"#{code:03d}"
    if code < _DELETE:
        return character
    return f"\\u{code:04x}" if code < _BMP_END else ""

"""Chinese in the form in which ``words`` counts: numerals as figures, and pairs of characters for words."""

from __future__ import annotations

import re

from retrieval.tables import spaced

_DIGITS = {char: value for value, char in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2, "兩": 2}
_UNITS = {"十": 10, "百": 100, "千": 1000, "万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_NUMERAL = re.compile(  # but not in the words for "in general", "certainly", "only", "very" and their like
    rf"(?<![统唯同])(?!十分[^钟之])[{''.join(_DIGITS | _UNITS)}]+(?![般些样定直起旦切])"
)
_FUNCTION = re.compile("请问|为什么|什么|怎么|怎样|如何|多少|多久|[的了吗呢吧啊呀是在和与也都我你您他她它们这那]")


def apart(text: str) -> str:
    """``text`` with spaces between what Chinese writes together, without function words; others stay as they are."""
    figures = _NUMERAL.sub(lambda run: f" {_value(run[0])} ", text)
    return spaced(_FUNCTION.sub(" ", figures))


def _value(numeral: str) -> str:
    """``三十`` is 30, and ``二〇二六``, which names no units, is 2026."""
    if not _UNITS.keys() & set(numeral):
        return "".join(str(_DIGITS[char]) for char in numeral)
    total = section = digit = 0
    for char in numeral:
        if char in _DIGITS:
            digit = _DIGITS[char]
        elif (unit := _UNITS[char]) < 10**4:
            section, digit = section + (digit or 1) * unit, 0
        else:
            total, section, digit = total + (section + digit or 1) * unit, 0, 0
    return str(total + section + digit)

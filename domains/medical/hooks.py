"""Compares a laboratory result or a blood pressure with adult reference intervals. It never diagnoses."""

from __future__ import annotations

import csv
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from domains.api import Reply, Request

TOOL = "lab_reference"
RANGES = "reference_ranges.csv"
DECIDES = "Your laboratory's own range and a clinician decide what the result means."
NOW = (
    "Contact a doctor now: call your doctor, 111 or the out-of-hours service, and say this number. "
    "Call 999, 112 or 911 for chest pain, fainting, confusion, drowsiness, severe weakness, bleeding or trouble breathing."
)


@dataclass(frozen=True, slots=True)
class Unit:
    """How a unit is written, and how to get from it to the analyte's own unit: factor * (value - offset)."""

    label: str
    pattern: str
    factor: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, slots=True)
class Analyte:
    """A test under all its names. ``units[0]`` is the unit of its rows in the table."""

    key: str
    name: str
    pattern: str
    units: tuple[Unit, ...]


@dataclass(frozen=True, slots=True)
class Interval:
    """One row of the table; None stands for an open end."""

    low: float | None
    high: float | None
    decimals: int
    critical_low: float | None
    critical_high: float | None
    possible_low: float
    possible_high: float
    note: str
    source: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What the text says about one analyte."""

    analyte: Analyte
    value: float | None
    unit: Unit | None
    foreign_unit: bool = False  # a unit was written, but not one this test is reported in


_PER_L = r"(?: ?/ ?l(?:it(?:re|er))?| per lit(?:re|er))"
_MMOL = rf"mmols?(?!\s*/\s*mol){_PER_L}?\b"
_UMOL = rf"(?:umol|micromol(?:es?)?|mcmol)s?{_PER_L}?\b"
_MG_DL = r"mgs? ?(?:/|per) ?d(?:l|ecilit(?:re|er))\b"
_MEQ = r"meq ?/ ?l\b"
_GIGA = r"x? ?10 ?[\^*]{0,2} ?9(?: ?/ ?l\b)?|giga ?/ ?l\b|k ?/ ?u?l\b|thousand\b"
_PER_UL = r"(?:cells? ?)?(?:/ ?ul\b|/ ?mm ?\^?3|/ ?cumm\b|per microlit(?:re|er))"


def _lipid(key: str, name: str, pattern: str, factor: float) -> Analyte:
    return Analyte(key, name, pattern, (Unit("mmol/L", _MMOL), Unit("mg/dL", _MG_DL, 1 / factor)))


def _cells(key: str, name: str, pattern: str) -> Analyte:
    return Analyte(key, name, pattern, (Unit("x10^9/L", _GIGA), Unit("per microlitre", _PER_UL, 0.001)))


def _salt(key: str, name: str, pattern: str) -> Analyte:
    return Analyte(key, name, pattern, (Unit("mmol/L", _MMOL), Unit("mEq/L", _MEQ)))


ANALYTES = (
    Analyte(
        "hba1c",
        "HbA1c",
        r"\b(?:hb ?a1c|a1c|glycated ha?emoglobin)\b",
        (Unit("mmol/mol", r"mmols? ?/ ?mol\b"), Unit("%", r"%|per ?cent\b", 10.929, 2.15)),
    ),
    Analyte(
        "haemoglobin",
        "haemoglobin",
        r"\b(?:ha?emoglobin|hb|hgb)\b(?! ?a1c)",
        (
            Unit("g/L", r"g(?:rams?)?(?: ?/ ?l\b| per lit(?:re|er))"),
            Unit("g/dL", r"gm?(?:rams?)?(?: ?/ ?dl\b| per decilit(?:re|er))|g ?%", 10),
            Unit("mmol/L", _MMOL, 16.114),
        ),
    ),
    _cells("white_cells", "white cell count", r"\b(?:white (?:blood )?cells?(?: count)?|wbcs?|wcc|leu[ck]ocytes?)\b"),
    _cells("platelets", "platelet count", r"\b(?:platelets?(?: count)?|plt|thrombocytes?)\b"),
    _lipid(
        "glucose",
        "glucose",
        r"\b(?:glucose|(?:blood |fasting |my )sugars?(?: levels?)?|sugar (?:level|reading)|fbs|fpg)\b",
        18.016,
    ),
    _lipid("non_hdl", "non-HDL cholesterol", r"\bnon[- ]?hdl(?:[- ]c(?:holesterol)?)?\b", 38.67),
    _lipid("ldl", "LDL cholesterol", r"\b(?:ldl(?:[- ]c(?:holesterol)?)?|bad cholesterol)\b", 38.67),
    _lipid("hdl", "HDL cholesterol", r"\b(?:hdl(?:[- ]c(?:holesterol)?)?|good cholesterol)\b", 38.67),
    _lipid("total_cholesterol", "total cholesterol", r"\b(?:total )?(?:cholesterol|chol)\b", 38.67),
    _lipid("triglycerides", "triglycerides", r"\b(?:triglycerides?|trigs)\b", 88.57),
    Analyte(
        "creatinine", "creatinine", r"\bcreat(?:inine)?\b", (Unit("micromol/L", _UMOL), Unit("mg/dL", _MG_DL, 88.4))
    ),
    Analyte("egfr", "eGFR", r"\be?gfr\b", (Unit("mL/min/1.73 m2", r"ml ?/ ?min(?: ?/ ?1\.73 ?m\^?2)?"),)),
    _salt("potassium", "potassium", r"\b(?:serum )?potassium\b"),
    _salt("sodium", "sodium", r"\b(?:serum )?sodium\b"),
    Analyte(
        "calcium",
        "adjusted calcium",
        r"\b(?:adjusted |corrected )?calcium\b",
        (Unit("mmol/L", _MMOL), Unit("mg/dL", _MG_DL, 0.2495)),
    ),
    Analyte("urea", "urea", r"\burea\b(?! nitrogen)", (Unit("mmol/L", _MMOL), Unit("mg/dL", _MG_DL, 0.1665))),
    Analyte(
        "urea_nitrogen",
        "urea nitrogen (BUN)",
        r"\b(?:bun|(?:blood )?urea nitrogen)\b",
        (Unit("mg/dL", _MG_DL), Unit("mmol/L", _MMOL, 2.801)),
    ),
    Analyte(
        "uric_acid",
        "uric acid",
        r"\b(?:uric acid|urate)\b",
        (Unit("micromol/L", _UMOL), Unit("mg/dL", _MG_DL, 59.48), Unit("mmol/L", _MMOL, 1000)),
    ),
    Analyte("tsh", "TSH", r"\btsh\b", (Unit("mU/L", r"mi?u ?/ ?l\b|ui?u ?/ ?ml\b"),)),
    Analyte(
        "crp",
        "CRP",
        r"\b(?:hs-?)?crp\b|\bc[- ]reactive protein\b",
        (Unit("mg/L", r"mg ?/ ?l\b"), Unit("mg/dL", _MG_DL, 10)),
    ),
    Analyte(
        "vitamin_d",
        "vitamin D",
        r"\b(?:25[- ]?(?:oh|hydroxy)[- ]?)?vit(?:amin)? ?d3?\b",
        (Unit("nmol/L", rf"nmol{_PER_L}?\b"), Unit("ng/mL", r"ng ?/ ?ml\b", 2.496), Unit("ug/L", r"ug ?/ ?l\b", 2.496)),
    ),
    Analyte(
        "alt",
        "ALT",
        r"\b(?:alt|alat|sgpt|alanine (?:amino)?transferase)\b",
        (Unit("U/L", r"i?u(?:nits?)?(?: ?/ ?l\b| per lit(?:re|er))"),),
    ),
)

_ANY_UNIT = re.compile(
    "|".join(f"(?:{unit.pattern})" for analyte in ANALYTES for unit in analyte.units) + r"|mg ?/ ?l\b"
)
_NUMBER = re.compile(r"(?<![\w.\-–/])-?\d+(?:\.\d+)?(?!\d|/\d)")
_NOT_A_RESULT = re.compile(
    r"\s*-?(?:(?:mg|mcg|ug|g|kg|ml|l|iu|units?)\b(?! ?/)|(?:years?|yrs?|yo|y/o|months?|weeks?|days?|hours?|hrs?|minutes?|am|pm|times|tablets?|pills?|"
    r"puffs?|portions?|eggs?|st|nd|rd|th|(?:19|20)\d\d)\b|:\d\d)"
)
_COMPARED = re.compile(
    r"(?:over|above|below|under|less than|more than|higher than|lower than|at least|up to|than|between|target|goal)(?: (?:of|is))? ?$"
)
_PERSONAL = re.compile(
    r"\b(?:my|mine|i'?m|i am|i have|i've|i got|i had|his|hers?|results?|came back|come back|came out|report|reading|"
    r"measured|tested|wife'?s?|husband'?s?|mum'?s?|mom'?s?|dad'?s?)\b"
)
_ASKS_TO_CHECK = re.compile(
    r"\b(?:check|interpret|compare|look at|explain|read|understand)\b.{0,30}\b(?:my|his|her)\b.{0,40}\b(?:results?|levels?|tests?|values?|reading)\b"
)
_GENERAL = re.compile(
    r"\b(?:how (?:do|can|to|often|long)|why|what (?:is|are|causes?|should)|which|lower|reduce|raise)\b"
)
_NOT_ADULT = re.compile(
    r"\bpregnan|\btrimester\b|\b(?:my|our) (?:baby|son|daughter|child|kid|toddler|newborn|infant|boy|girl)\b|"
    r"\b(?:1[0-7]|\d)[- ]?(?:years?|yrs?)[- ]?old\b|\b\d+[- ]?(?:months?|weeks?|days?)[- ]?old\b"
)
_CONVERSION = re.compile(r"\bconver|\b(?:in|to|into) (?:mg|mmol|g ?/|per ?cent|%|umol|us units|uk units)")
_AFTER_FOOD = re.compile(
    r"\b(?:after (?:eating|food|a meal|meals|lunch|dinner|breakfast)|random|non-?fasting|not fasting|postprandial)\b"
)
_FEMALE = re.compile(
    r"\b(?:wom[ae]n|females?|lady|she|her|hers|wife|mum|mom|mother|grandmother|grandma|sister|aunt|girlfriend)\b|\b\d\d ?f\b"
)
_MALE = re.compile(
    r"\b(?:m[ae]n|males?|guy|he|his|him|husband|dad|father|grandfather|grandad|grandpa|brother|uncle|boyfriend)\b|\b\d\d ?m\b"
)
_OUR_QUESTION = re.compile(r"^(?:Which unit does|What is the value and unit|Is the result from a woman)")
_PRESSURE = re.compile(r"(?<![\d.])(\d{1,3}) ?(?:/|over) ?(\d{1,3})(?! ?/|\d)")
_PRESSURE_WORDS = re.compile(r"\b(?:blood pressure|bp|mm ?hg)\b")


def respond(request: Request) -> Reply | None:
    """Answer when the text holds a result of a known test, or continues our own question; else decline."""
    text = _plain(_with_earlier(request))
    personal = request.intent == "lab_result" or bool(_PERSONAL.search(text))
    pressure = _pressure(text) if personal or "mmhg" in text.replace(" ", "") else None
    if pressure:
        return pressure
    readings = [] if _CONVERSION.search(text) else _readings(text)
    if not readings:
        return _unknown_test(text) if request.intent == "lab_result" else None
    with_value = [reading for reading in readings if reading.value is not None]
    if not with_value:
        return _ask_value(readings[0], text, request.intent)
    if not personal and not any(reading.unit or reading.foreign_unit for reading in with_value):
        return None
    return _compare_all(with_value, text, request.pack / RANGES)


def _plain(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).lower().replace("’", "'").replace("−", "-").replace("×", "x")
    text = re.sub(r"[µμ]", "u", text)
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)
    return re.sub(r"(?<=\d),(?=\d{1,2}\b)", ".", text)


def _with_earlier(request: Request) -> str:
    """The text, preceded by the questions it continues when the last answers asked for more."""
    fills = re.search(r"\d", request.text) or _ANY_UNIT.search(_plain(request.text)) or _sex(_plain(request.text))
    if not fills or len(request.text.split()) > 15:
        return request.text
    earlier: list[str] = []
    for exchange in reversed(request.history):
        if not _OUR_QUESTION.match(exchange.answer):
            break
        earlier.insert(0, exchange.question)
    return " ; ".join([*earlier, request.text])


def _readings(text: str) -> list[Reading]:
    spans: list[tuple[int, int, Analyte]] = []
    for analyte in ANALYTES:  # longer names come first, so that "LDL cholesterol" is not total cholesterol too
        for match in re.finditer(analyte.pattern, text):
            if all(match.end() <= start or end <= match.start() for start, end, _ in spans):
                spans.append((match.start(), match.end(), analyte))
    spans.sort(key=lambda span: span[0])
    read: dict[str, Reading] = {}
    for index, (start, end, analyte) in enumerate(spans):
        begin = spans[index - 1][1] if index else 0
        stop = spans[index + 1][0] if index + 1 < len(spans) else len(text)
        reading = _reading(analyte, text[end : min(stop, end + 120)], text[max(begin, start - 30) : start], text)
        if analyte.key not in read or read[analyte.key].value is None:
            read[analyte.key] = reading
    return list(read.values())


def _reading(analyte: Analyte, after: str, before: str, text: str) -> Reading:
    bare: float | None = None
    for where in (after, before):
        for match in _NUMBER.finditer(where):
            rest = where[match.end() :]
            unit = next((unit for unit in analyte.units if re.match(rf"\s*(?:{unit.pattern})", rest)), None)
            if unit:
                return Reading(analyte, float(match[0]), unit)
            if _NOT_A_RESULT.match(rest) or _COMPARED.search(where[: match.start()]):
                continue
            if re.match(rf"\s*(?:{_ANY_UNIT.pattern})", rest):
                return Reading(analyte, float(match[0]), None, foreign_unit=True)
            if bare is None and where is after:
                bare = float(match[0])
    if bare is None:
        return Reading(analyte, None, None)
    later = next((unit for unit in analyte.units if re.search(rf"(?<![a-z])(?:{unit.pattern})", text)), None)
    only = analyte.units[0] if all(unit.factor == 1 for unit in analyte.units) else None
    return Reading(analyte, bare, later or only)


def _compare_all(readings: list[Reading], text: str, path: Path) -> Reply:
    lines = []
    for reading in readings:
        if reading.unit is None:
            question = _ask_unit(reading)
            return Reply(question, TOOL, complete=False)
        rows = _rows(path, reading.analyte.key)
        line = _compare(reading, rows, text)
        if line is None:
            name = reading.analyte.name
            return Reply(
                f"Is the result from a woman or a man? The reference interval for {name} depends on sex.",
                TOOL,
                complete=False,
            )
        lines.append(line)
    decides = [DECIDES] if any("interval" in line for line in lines) else []
    return Reply(" ".join([*lines, *decides]), TOOL)


def _compare(reading: Reading, rows: dict[str, Interval], text: str) -> str | None:
    """The comparison in words; None when it needs the sex."""
    assert reading.value is not None and reading.unit is not None
    first = next(iter(rows.values()))
    value = round(reading.unit.factor * (reading.value - reading.unit.offset), first.decimals)
    shown = _shown(reading, value)
    if not first.possible_low <= value <= first.possible_high or reading.value < 0:
        return f"A {shown} is not possible, so please check the number and the unit on the report.{_better_unit(reading, first)}"
    urgent = _urgent(value, rows)
    if urgent:
        limits = f", {_limits(first, reading)}" if len(rows) == 1 else ""
        return f"{_capital(shown)} is far {urgent} the adult reference interval{limits}. {NOW}"
    if _NOT_ADULT.search(text):
        return f"I can't compare {shown}: my intervals are for adults who are not pregnant, so ask the doctor or midwife who arranged the test."
    if reading.analyte.key == "glucose" and _AFTER_FOOD.search(text):
        return f"My interval is for fasting samples, and {shown} was not fasting; tell your doctor about 11.1 mmol/L (200 mg/dL) or more."
    sex = "any" if "any" in rows else _sex(text)
    return _sentence(shown, value, rows[sex], sex, reading) if sex else None


def _sentence(shown: str, value: float, row: Interval, sex: str, reading: Reading) -> str:
    low = row.low is not None and value < row.low
    high = row.high is not None and value > row.high
    side = "below" if low else "above" if high else "within"
    whom = {"any": "", "female": " for women", "male": " for men"}[sex]
    line = f"{_capital(shown)} is {side} the adult reference interval{whom}, {_limits(row, reading)}."
    note = row.note if side != "within" or row.note.startswith("This interval") else ""
    show = "" if side == "within" else "Please show this result to your doctor."
    return " ".join(part for part in (line, note, show, f"Source of the interval: {row.source}.") if part)


def _limits(row: Interval, reading: Reading) -> str:
    own, other = reading.analyte.units[0], reading.unit
    text = _span(row.low, row.high, row.decimals, own)
    if other is None or other.label == own.label or other.factor == 1:
        return text
    back = [None if end is None else end / other.factor + other.offset for end in (row.low, row.high)]
    digits = 1 if max(end or 0 for end in back) < 20 else 0
    return f"{text} ({_span(back[0], back[1], digits, other)})"


def _span(low: float | None, high: float | None, digits: int, unit: Unit) -> str:
    if low is None:
        return f"{high:.{digits}f} {unit.label} or below"
    if high is None:
        return f"{low:.{digits}f} {unit.label} or above"
    return f"{low:.{digits}f} to {high:.{digits}f} {unit.label}"


def _shown(reading: Reading, value: float) -> str:
    assert reading.unit is not None
    own = reading.analyte.units[0]
    same = reading.unit.label == own.label
    return f"{reading.analyte.name} of {reading.value:g} {reading.unit.label}" + (
        "" if same else f" ({value:g} {own.label})"
    )


def _capital(text: str) -> str:
    return text if text.startswith("eGFR") else text[0].upper() + text[1:]


def _urgent(value: float, rows: dict[str, Interval]) -> str:
    if any(row.critical_low is not None and value < row.critical_low for row in rows.values()):
        return "below"
    return "above" if any(row.critical_high is not None and value >= row.critical_high for row in rows.values()) else ""


def _better_unit(reading: Reading, row: Interval) -> str:
    assert reading.value is not None
    for unit in reading.analyte.units:
        value = unit.factor * (reading.value - unit.offset)
        if unit is not reading.unit and row.possible_low <= value <= row.possible_high:
            return f" Could it be {reading.value:g} {unit.label}?"
    return ""


def _rows(path: Path, key: str) -> dict[str, Interval]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["sex"]: _interval(row) for row in csv.DictReader(file) if row["analyte"] == key}


def _interval(row: dict[str, str]) -> Interval:
    low, high, critical_low, critical_high = (
        float(row[column]) if row[column] else None for column in ("low", "high", "critical_low", "critical_high")
    )
    possible = float(row["possible_low"]), float(row["possible_high"])
    return Interval(low, high, int(row["decimals"]), critical_low, critical_high, *possible, row["note"], row["source"])


def _sex(text: str) -> str | None:
    female, male = bool(_FEMALE.search(text)), bool(_MALE.search(text))
    if female == male:
        return None
    return "female" if female else "male"


def _ask_unit(reading: Reading) -> str:
    labels = [unit.label for unit in reading.analyte.units]
    known = f"{', '.join(labels[:-1])} or {labels[-1]}" if len(labels) > 1 else labels[0]
    lead = f"I can read {reading.analyte.name} in {known}." if reading.foreign_unit else f"For example {known}."
    return f"Which unit does the report give for {reading.analyte.name}? {lead}"


def _ask_value(reading: Reading, text: str, intent: str) -> Reply | None:
    wanted = _ASKS_TO_CHECK.search(text) or (
        intent == "lab_result" and _PERSONAL.search(text) and not _GENERAL.search(text)
    )
    if not wanted:
        return None
    return Reply(
        f"What is the value and unit of the {reading.analyte.name} result on the report?", TOOL, complete=False
    )


def _unknown_test(text: str) -> Reply | None:
    if not any(_ANY_UNIT.match(text[match.end() :].lstrip()) for match in _NUMBER.finditer(text)):
        return None
    known = ", ".join(analyte.name for analyte in ANALYTES)
    return Reply(
        f"I have no reference interval for that test. I can compare blood pressure and these tests: {known}.", TOOL
    )


def _pressure(text: str) -> Reply | None:
    match = _PRESSURE.search(text)
    if not match or not _PRESSURE_WORDS.search(text):
        return None
    upper, lower = int(match[1]), int(match[2])
    if not (50 <= upper <= 300 and 20 <= lower <= 200 and upper > lower):
        return Reply(
            f"A blood pressure of {upper}/{lower} mmHg is not possible: the first number should be the larger one. Please check it.",
            TOOL,
        )
    if _NOT_ADULT.search(text) and not (upper >= 180 or lower >= 120):
        return Reply(
            "My blood pressure categories are for adults who are not pregnant; ask the doctor or midwife about this reading.",
            TOOL,
        )
    return Reply(f"Blood pressure {upper}/{lower} mmHg {_category(upper, lower)} {DECIDES}", TOOL)


def _category(upper: int, lower: int) -> str:
    if upper >= 180 or lower >= 120:
        return f"is in the very high category, 180/120 mmHg or more. {NOW}"
    if upper >= 140 or lower >= 90:
        return "is above 140/90 mmHg or equal to it in at least one number, which counts as high in a clinic. Please have it checked."
    if upper < 90 or lower < 60:
        return (
            "is below 90/60 mmHg in at least one number, which counts as low. See a doctor if you feel dizzy or faint."
        )
    if upper > 120 or lower > 80:
        return "is above the ideal (120/80 mmHg) and below the UK limit for high blood pressure (140/90 mmHg)."
    return "is within the ideal category, between 90/60 and 120/80 mmHg."

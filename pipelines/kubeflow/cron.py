"""Times of a schedule: converts cron's usual five fields to the six of Kubeflow Pipelines.

Kubeflow's start with seconds; it accepts five fields silently but gives them another meaning. Its
days of the week end at 6, while cron also has 7 for Sunday.
"""

import re
from dataclasses import dataclass

from dcvae.errors import UserError

_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_ITEM = re.compile(r"(?:(?P<all>\*)|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>\d+))?")


@dataclass(frozen=True)
class _Field:
    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()

    def values(self, text: str) -> set[int]:
        """The numbers that ``text`` stands for."""
        found: set[int] = set()
        for item in text.split(","):
            match = _ITEM.fullmatch(item)
            if not match:
                raise UserError(f"the schedule's {self.name} {text!r} cannot be read")
            if match["step"] and match["first"] and not match["last"]:
                raise UserError(
                    f"the schedule's {self.name} {item!r} has no end; "
                    f"write {match['first']}-{self.high}/{match['step']}"
                )
            first = self.low if match["all"] else self._number(match["first"])
            last = self.high if match["all"] else self._number(match["last"] or match["first"])
            if last == 0 < first and self.high == 7:
                last = 7  # FRI-SUN: a week may end on its first day
            step = int(match["step"] or 1)
            if last < first or step < 1:
                raise UserError(f"the schedule's {self.name} {item!r} contains nothing")
            found.update(range(first, last + 1, step))
        return found

    def _number(self, text: str) -> int:
        if text.upper() in self.words:
            return self.words.index(text.upper()) + self.low
        number = int(text) if text.isdigit() else -1
        if not self.low <= number <= self.high:
            raise UserError(
                f"the schedule's {self.name} is {self.low} to {self.high}, not {text!r}"
            )
        return number


_MINUTE = _Field("minute", 0, 59)
_HOUR = _Field("hour", 0, 23)
_DAY = _Field("day of the month", 1, 31)
_MONTH = _Field("month", 1, 12, tuple(_MONTHS))
_WEEKDAY = _Field("day of the week", 0, 7, tuple(_DAYS))


def with_seconds(cron: str) -> str:
    """``cron``'s five fields (minute, hour, day, month, day of the week) in Kubeflow's six.

    Names of common times, such as @daily, stand for their five fields.

    Raises:
        UserError: there are not five, they cannot be read, or they name a day that no month has.
    """
    fields = _NICKNAMES.get(cron.strip().lower(), cron).split()
    if len(fields) != 5:
        raise UserError(
            f"the schedule {cron!r} has {len(fields)} fields, not five: minute, hour, day of the "
            'month, month, day of the week; "0 3 * * 0" is Sunday at three'
        )
    minute, hour, day, month, weekday = fields
    _MINUTE.values(minute)
    _HOUR.values(hour)
    days, months = _DAY.values(day), _MONTH.values(month)
    if weekday.startswith("*") and min(days) > max(_LONGEST[each - 1] for each in months):
        raise UserError(f"the schedule {cron!r} never comes: no such month has day {min(days)}")
    numbers = _WEEKDAY.values(weekday)
    if 7 in numbers and not weekday.startswith("*"):
        weekday = ",".join(str(each) for each in sorted({each % 7 for each in numbers}))
    return " ".join(("0", minute, hour, day, month, weekday))

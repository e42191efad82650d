"""What there is to see, as plain data: nothing here draws.

A module for each kind of picture, tested by what it says: `parts` one stream, `loop` a turn of several
rounds, `growth` content over time and its rate, `reader` somebody who reads along, `spacing` gaps, `phases`
where the time of many replies went, `levels` replies by load, `knee` where a curve over load bends, `bins`
values in round bins.
"""

from __future__ import annotations

__all__: list[str] = []

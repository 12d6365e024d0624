"""The table as a picture: speed of each system as a multiple of the io_uring ceiling, SVG."""
import math
from xml.sax.saxutils import escape

from measure.report import CEILING, rows_of, systems_of
from measure.systems import COMPARED

COLOURS = {"sheen": "#0b6e99", "moosefs": "#c8553d", "glusterfs": "#7a9e3f", "uring": "#555555",
           "classic": "#b0b0b0"}
LEFT, WIDTH, ROW, TOP = 360, 600, 22, 70
LEGEND_STEP = 125


def _multiples(results, row, system):
    """(least, median, most) as multiples of the ceiling's median speed."""
    base = results.median(CEILING, row.key)
    spread = results.spread(system, row.key)
    if not base or not spread:
        return None
    values = [spread[0], results.median(system, row.key), spread[1]]
    if any(v <= 0 for v in values):
        return None
    return sorted(base / v if row.seconds else v / base for v in values)


def _text(x, y, text, anchor="start", size=12):
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">' \
           f'{escape(text)}</text>'


def _legend(systems):
    for index, system in enumerate(systems):
        x = LEFT + index * LEGEND_STEP
        yield f'<circle cx="{x}" cy="32" r="5" fill="{COLOURS[system]}"/>'
        yield _text(x + 9, 36, COMPARED[system].label)


def _grid(low, high, place, bottom):
    for power in range(low, high + 1):
        for step in (1, 2, 5) if high - low <= 4 else (1,):
            value = step * 10.0 ** power
            if power == high and step > 1:
                break
            x = place(value)
            strong = "#888888" if value == 1 else "#e4e4e4"
            yield f'<line x1="{x:.1f}" y1="{TOP - 12}" x2="{x:.1f}" y2="{bottom}" ' \
                  f'stroke="{strong}"/>'
            yield _text(x, TOP - 16, f"{value:g}", "middle", 10)


def svg(results):
    systems = systems_of(results)
    rows = [row for row in rows_of(results) if results.median(CEILING, row.key)]
    marks = {(row.key, system): found for row in rows for system in systems
             if (found := _multiples(results, row, system))}
    values = [value for mark in marks.values() for value in mark] or [1.0]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)
    bottom = TOP + ROW * len(rows)

    def place(value):
        return LEFT + (math.log10(value) - low) / (high - low) * WIDTH

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 50}" '
           f'height="{bottom + 20}" font-family="sans-serif">',
           '<rect width="100%" height="100%" fill="white"/>',
           _text(10, 18, "Speed as a multiple of the FUSE ceiling over io_uring (median, "
                         "lowest to highest round)", size=13),
           *_legend(systems), *_grid(low, high, place, bottom)]
    for index, row in enumerate(rows):
        y = TOP + ROW * index + ROW / 2
        out.append(_text(10, y + 4, results.label(row)))
        for offset, system in enumerate(systems):
            mark = marks.get((row.key, system))
            if not mark:
                continue
            at = y + (offset - (len(systems) - 1) / 2) * 3
            least, middle, most = (place(value) for value in mark)
            colour = COLOURS[system]
            out.append(f'<line x1="{least:.1f}" y1="{at:.1f}" x2="{most:.1f}" y2="{at:.1f}" '
                       f'stroke="{colour}" stroke-width="1.5"/>')
            out.append(f'<circle cx="{middle:.1f}" cy="{at:.1f}" r="4" fill="{colour}"/>')
    return "\n".join([*out, "</svg>"]) + "\n"

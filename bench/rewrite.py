"""Writes docs/performance.md and its pictures anew from the last result of each kind: `python -m bench.rewrite`."""

from bench import gpu_table, page, plot, report

if __name__ == "__main__":
    if result := page.newest(""):
        report.write(result)
        plot.draw(result)
    if result := page.newest("gpu"):
        gpu_table.write(result)

"""Write EXPERIMENTS.md from ``experiments/results``: the paper's numbers beside ours.

python experiments/report.py
"""

from __future__ import annotations

from pathlib import Path

import certified_section
import cubic_section
import figure_section
import question_sections as questions
import soundness_sections as soundness
import theory_sections
import transformer_section
import verdict_section
import vision_section

OUT = Path(__file__).parents[1] / "EXPERIMENTS.md"

INTRODUCTION = """# Experiments

Section V of C. D. Freeman and J. Bruna, ICLR 2017, again, and questions that it leaves open. Every number of ours comes
from `experiments/results`, written by the script named beside it; `python experiments/report.py` writes this page. The
paper's numbers are the means of its Fig. 1, read off the curves.

Lengths are normalized: over the distance of the ends. *Weights* leaves biases out, as the authors' scripts do. Beads
count the ends. Intervals are 95 %: bootstrap over pairs for means, Wilson's for shares; means are of connected pairs.
Losses on strings are *sampled*.
"""


def main() -> None:
    """Write the page."""
    parts = [
        INTRODUCTION,
        *figure_section.all_sections(),
        soundness.appendix(),
        soundness.motion(),
        questions.lengths(),
        questions.sunk(),
        questions.alpha(),
        *theory_sections.all_sections(),
        questions.descent(),
        cubic_section.section(),
        questions.loss(),
        questions.room(),
        transformer_section.section(),
        vision_section.section(),
        certified_section.section(),
        verdict_section.section(),
        soundness.known_answers(),
        soundness.certificates(),
        soundness.disconnection(),
        soundness.kills(),
    ]
    OUT.write_text("\n".join(part for part in parts if part))
    print(f"wrote {OUT.name}")


if __name__ == "__main__":
    main()

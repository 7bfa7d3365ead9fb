"""All comparisons with references that need no DFT engine and no training run: python -m validation."""

from __future__ import annotations

import argparse

from validation import dipolar_points, force_noise, md_shift, md_stability, stackings

argparse.ArgumentParser(description=__doc__).parse_args()
for comparison in (md_stability, stackings, force_noise, dipolar_points, md_shift):
    print(f"== {comparison.__doc__}")
    comparison.main()

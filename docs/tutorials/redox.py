"""Charges among moving ions.

Of the four V3+ in a cell of Na3V2(PO4)3 that has lost two Na, two become V4+. Which two, and whether charges follow the
ions, is what redox chemistry and paramagnetic shifts ask. `density-nvp_gpaw` tells densities, Bader charges and states.
"""

import subprocess

import ionecho

# **Dynamics.** `nvp_4` is Na2V2(PO4)3 with 4 Na and 4 V in the cell. `painn-nvp` was taught energies and forces of 37
# DFT cells, and is not told which V is V4+. 200 fs show how things go.

run = ionecho.simulate(
    checkpoint="painn-nvp",
    structure="nvp_4",
    temperature=600.0,
    time="200fs",
    timestep=2.0,
    every=4,
    output="run.zarr",
)

# **Who holds the holes?** `oxidation-nvp_gpaw` weighs all arrangements of two holes over four V by their energy. Its
# moments are the mean over them: 1.84 Bohr magnetons were V3+ for sure, 1.03 V4+ for sure. In between it does not
# know, as the geometry does not tell.

states = ionecho.load("oxidation-nvp_gpaw").predict(run)
for time, moments in zip(range(0, 200, 40), states["magnetic_moment"][::5], strict=True):
    print(f"{time:4d} fs   moments of V: {'  '.join(f'{moment:.2f}' for moment in moments)}")

# **Densities.** They need one arrangement, and take the likeliest. Charges and moments of the atoms go into one
# folder, the densities of every tenth frame into a dataset beside it; a coarse grid will do here.

model = ionecho.load("density-nvp_gpaw")
model.predict(run, output="charges.zarr", grids={"every": 10, "spacing": 0.3})
densities = ionecho.dataset("charges-grids.zarr")
atoms, spin = densities[0].atoms, densities.grid("spin_density", 0)
print(f"spin density: {spin.shape} points, {spin.mean() * atoms.get_volume():.2f} unpaired electrons in the cell")

# For a look in VESTA, or as the start of a calculation:

subprocess.run(["ionecho", "data", "export", "charges-grids.zarr", "CHGCAR", "--configuration", "0"], check=True)

# **Did charge move with the ions?** The analysis follows the arrangement, counts its changes and the hops of Na, and
# how many would fall together by chance.

report = ionecho.analyze("redox", "charges.zarr")
report.write("redox")
for line in (*report.summary["headline"], *report.notes):
    print(line)

# **What it is worth.** No Na hops in so short a run, so nothing is learned of charge beside ions. Each frame is
# judged by itself: a "transfer" is a change of the likeliest arrangement, and in DFT cells that were left out that
# one is right in 0.68 of the cases (0.23 by chance), the wrong ones where moments above lie in between. In a run of
# 12 ps it flickers ([densities](../densities.md#from-a-structure-to-the-report-of-a-run)). V-O bonds
# that shorten at a hole are what the model goes by, not a finding. [Densities and redox](../densities.md) has the
# errors of charges and densities.

"""The shift of a moving ion.

A Na ion in P2-Na2/3(Mg1/3Mn2/3)O2 hops between sites whose paramagnetic shifts differ by a thousand ppm. On the time
scale of NMR it is everywhere at once: what is seen is the mean over its path, the dynamic shift.
"""

import ionecho

# **Dynamics.** `uf3-p2_painn` is a fast potential of this material. 400 fs are much too short for an answer and
# enough to see how things go; the run is a zarr folder, and the same call goes on where it was killed.

run = ionecho.simulate(
    checkpoint="uf3-p2_painn",
    structure="p2_p63mcm",
    repeat=[2, 2, 1],
    temperature=300.0,
    time="400fs",
    timestep=2.0,
    every=5,
    output="run.zarr",
)

# **Shifts along it.** `nn_nmr-p2_nmmo` learned hyperfine couplings from 703 frames of DFT; the conversion to ppm,
# with its moments and temperature, comes with the checkpoint and is printed. The predictions are streamed into a
# second folder.

model = ionecho.load("nn_nmr-p2_nmmo")
model.predict(run, output="shifts.zarr")

# In memory the same is a dictionary of arrays: frames first, then the Na ions.

shifts = model.predict(run)["hyperfine_contact_shift"]
frames, ions = shifts.shape
print(f"{frames} frames of {ions} Na: {shifts.mean():.0f} ppm, from {shifts.min():.0f} to {shifts.max():.0f}")

# **What the spectrometer sees.** The analysis finds sites, occupations and the mean with its error, and writes one
# page with its figures and tables. Its notes say what so short a run leaves out: read them first.

report = ionecho.analyze("dynamic_shift", "shifts.zarr")
report.write("shift")
for note in report.notes:
    print("note:", note)

# **What it is worth.** The mean depends on the sites that the potential puts the ions at: of this one, PBE + U, too
# many at the edges, so that its long runs give some 2020 ppm where DFT frames give 1637. [Results](../results.md)
# compares potentials.

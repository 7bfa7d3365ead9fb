"""How long an ion remembers its frequency.

A 7Li in Li3PS4 has a quadrupolar frequency that its site and the field decide. It hops, and the frequency changes. A
spin-alignment echo sees how fast: from field gradients along a trajectory to the correlation time and the echo.
"""

import numpy as np

import ionecho

# **Dynamics** of beta-Li3PS4, 12 Li, with `uf3-lgps`, a fast potential of its relative Li10GeP2S12. At 1000 K each Li
# hops about every 2 ps, so that 10 ps have something to show.

run = ionecho.simulate(
    checkpoint="uf3-lgps",
    structure="lps_beta",
    temperature=1000.0,
    time="10ps",
    timestep=2.0,
    every=10,
    output="run.zarr",
)

# **Tensors along it.** `tensor_sum-lps_gpaw` learned field gradients of DFT, two members that disagree where they do
# not know. C_Q is made of the tensor with the quadrupole moment of 7Li, which is printed.

model = ionecho.load("tensor_sum-lps_gpaw")
model.predict(run, output="gradients.zarr")
values = model.predict(run)
largest = np.abs(np.linalg.eigvalsh(values["efg"])).max(-1).mean()
print(f"|V_zz| {largest:.2f} V/Å² on average, of which the members disagree on {values['efg_std'].mean():.2f}")
print(f"|C_Q| {np.abs(values['quadrupolar_coupling']).mean():.0f} kHz")

# **The mean tensor.** What a fast ion shows is not the mean of C_Q but the C_Q of its mean tensor: motion takes most
# of it away.

tensors = ionecho.analyze("tensors", "gradients.zarr", "analysis.settings.isotopes=[7Li]")
tensors.write("tensors")
for line in tensors.summary["headline"]:
    print(line)

# **The echo.** Atoms rattle for some 0.5 ps; what is lost after that is lost by hops. The analysis fits the decay of
# the correlation function, computes the echo of each preparation time, and counts hops from the positions beside it.

report = ionecho.analyze("spin_echo", "gradients.zarr", "analysis.settings.correlation.start=500")
report.write("echo")
for line in (*report.summary["headline"], *report.notes):
    print(line)

# **What it is worth.** Two roads, tensors and positions, lead to about the same rate: that is the check to look at.
# The notes say the rest. A run should last 20 correlation times and this one lasts eight; at 1000 K frequencies
# average within the pulses, and no echo would be seen. An experiment works at 300 K, where hops are a million times
# rarer: run at several temperatures, give all of them as `input`, and the Arrhenius line is read at 300 K with its
# interval ([spin-alignment echo](../spin-echo.md)). The potential knows another compound: for rates take `painn-lps`,
# which learned Li3PS4 and is slower.

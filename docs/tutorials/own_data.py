"""Your own data.

A folder of labelled structures becomes a dataset, a model and a report. Here the folder is made first: displaced
copper with the energies and forces of a model potential stands in for your DFT outputs. Of VASP, CASTEP and others
see [your own DFT outputs](../your-own-data.md).
"""

import subprocess
from pathlib import Path

import ase.io
from ase.build import bulk
from ase.calculators.emt import EMT

import ionecho

# **The folder.** Ten runs of six frames, each file a run: frames of one file are alike, and will not be split.

Path("files").mkdir(exist_ok=True)
for run in range(10):
    frames = []
    for frame in range(6):
        atoms = bulk("Cu", cubic=True).repeat((2, 1, 1))
        atoms.rattle(0.05 + 0.01 * run, seed=10 * run + frame)
        atoms.calc = EMT()
        atoms.info["emt_energy"], atoms.arrays["emt_forces"] = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = None
        frames.append(atoms)
    ase.io.write(f"files/run_{run}.extxyz", frames)

# **The dataset.** Which key is which label is said, never guessed; so are licence and citation. The card, the quality
# gate and the folds (whole files) are made.

line = ["ionecho", "data", "import", "my_copper", "files", "--importer", "extxyz", "--pattern", "*.extxyz"]
line += ["--options", "{keys: {energy: emt_energy, forces: emt_forces}}", "--licence", "mit", "--citation", "me"]
line += ["--level-of-theory", "{code: ASE, functional: EMT}"]
subprocess.run(line, check=True)
data = ionecho.dataset("my_copper")
print(f"{len(data)} configurations with {', '.join(data.labels)}")

# **The model.** The words are those of `ionecho train`. The errors are of files that were not trained on.

words = ["model=deep_pot", "model.cutoff=4.0", "trainer.max_epochs=40", "logger=csv"]
data_words = ["dataset=own", "dataset.name=my_copper", "dataset.split=group"]
metrics = ionecho.train(*words, *data_words, folder="run")
forces = metrics["test"]["forces"]
print(f"forces: RMSE {1000 * forces['rmse']:.0f} meV/Å, R2 {forces['r2']:.3f}")

# **The report**: parity and error histograms by element.

ionecho.analyze("errors", "run").write("errors")

# **Use it.**

atoms = bulk("Cu", cubic=True).repeat((2, 2, 2))
atoms.calc = ionecho.load("run").calculator()
print(f"{atoms.get_potential_energy() / len(atoms):.3f} eV an atom, {ionecho.__version__}")

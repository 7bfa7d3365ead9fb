"""Molecular dynamics: python simulate.py checkpoint=painn-p2_gpaw structure=POSCAR time=10ps output=trajectory.zarr."""

from ionecho.door.simulate import main

if __name__ == "__main__":
    main()

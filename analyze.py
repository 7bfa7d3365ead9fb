"""Turn trajectories into observables: python analyze.py analysis=dynamic_shift input=pred.zarr output=report/."""

from ionecho.door.analyze import main

if __name__ == "__main__":
    main()

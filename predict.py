"""Predict along a trajectory: python predict.py checkpoint=nn_nmr-p2_nmmo input=traj.xyz output=pred.zarr."""

from ionecho.door.predict import main

if __name__ == "__main__":
    main()

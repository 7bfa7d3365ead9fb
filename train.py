"""Train a model on a dataset: python train.py model=nn_nmr dataset=p2_nmmo [cv.folds=5] [ensemble=4]."""

from ionecho.door.train import main

if __name__ == "__main__":
    main()

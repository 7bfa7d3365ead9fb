"""Active learning: python explore.py dataset=p2_gpaw model=painn engine=p2_gpaw."""

from ionecho.door.explore import main

if __name__ == "__main__":
    main()

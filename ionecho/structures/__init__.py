"""Starting cells: prototypes, files, displaced copies, arrangements of mobile ions, coordination."""

"""DFT engines behind one interface, and the resumable queue that labels configurations with them."""

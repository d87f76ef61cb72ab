"""The paper's loss terms, one module each; every one is a mean per image."""

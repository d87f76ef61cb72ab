"""The paper's loss terms, one module each; every term is a mean per image."""

"""Files that people and tools attach: their bytes in an object store, what they truly are, and how they are kept."""

"""The tool runner: runs the tools that models call, quick ones and long operations, and says how they ended."""

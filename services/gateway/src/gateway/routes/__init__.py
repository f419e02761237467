"""The routes: a room for each noun, a file for each kind of thing; what several rooms do stands beside them."""

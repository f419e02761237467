"""Sessions, and what is done with one as a whole: shared, searched, judged, forked."""

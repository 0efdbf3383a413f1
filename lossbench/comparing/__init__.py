"""Two runs, or two targets of one: what is newly failing, worse, better, slower, faster, and how sure that is."""

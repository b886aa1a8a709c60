"""What others get to see: cards made from the numbers of a data set or a run, and the way to the Hub.

It must not know how either was made, beyond the files that say so.
"""

"""What a document is: its parts, its normal form, its hashes. Plain values and pure functions.

May not touch the network, a database or a clock; everything else in qloader may import this room.
"""

"""The ideal twins of protocols.ot: the same functions, dealt by a trusted dealer. THEY PROTECT NOTHING.

For fast tests of what stands on these blocks: a test puts ``ideal.vole`` where a protocol has ``protocols.ot.vole``.
The dealer is a seed that the sender draws and sends in the clear, from which both sides take what they would be dealt:
whoever reads the channel, or has either end, knows everything.

    base  cot  random_ot  vole      as in protocols.ot, with the same signatures
"""

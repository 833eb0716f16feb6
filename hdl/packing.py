"""How codes lie in the words of the weight memory: the one place where that order is fixed.

The codes of a step are its rows one after the other, of each row its lanes. Code k lies in word
``k // n``, n codes a word, from bit ``k % n * code_width`` up; what is left of a word is 0. Pad
values, in front of a step's codes, are packed in the same way as codes of 8 bits.

All functions take integers and arrays of them.
"""

__all__ = ["codes_per_word", "slot", "word_count"]


def codes_per_word(load_bits, code_width):
    """Return how many codes of `code_width` bits a word of `load_bits` holds."""
    return load_bits // code_width


def word_count(codes, load_bits, code_width):
    """Return the words that so many codes of a step take."""
    return -(-codes // codes_per_word(load_bits, code_width))


def slot(code, per_word):
    """Return the word of a step's code, by its number, and which of the word's codes it is."""
    return code // per_word, code % per_word

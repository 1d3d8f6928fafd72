"""A file as a C array, for microcontrollers."""

import re

_PER_LINE = 16


def c_header(name: str, content: bytes, arena_bytes: int | None) -> str:
    """Return a C and C++ header that holds a file.

    Args:
        name: name of the arrays, made an identifier.
        content: bytes of the file.
        arena_bytes: size of TensorFlow Lite Micro's arena; None where it was not measured.
    """
    symbol = identifier(name)
    rows = [content[i : i + _PER_LINE] for i in range(0, len(content), _PER_LINE)]
    numbers = ",\n".join("    " + ", ".join(f"0x{byte:02x}" for byte in row) for row in rows)
    arena = (
        ""
        if arena_bytes is None
        else "/* Measured with pointers of 64 bits; with pointers of 32 bits somewhat less will do. */\n"
        f"static const unsigned int {symbol}_arena_bytes = {arena_bytes}u;\n"
    )
    guard = f"{symbol.upper()}_H"
    return f"""#ifndef {guard}
#define {guard}

#ifndef __cplusplus
#include <stdalign.h>
#endif

alignas(16) static const unsigned char {symbol}[] = {{
{numbers}
}};
static const unsigned int {symbol}_length = {len(content)}u;
{arena}
#endif
"""


def identifier(name: str) -> str:
    """Return a name as an identifier of C.

    Examples:
        >>> identifier("2nd-model.int8")
        'g_2nd_model_int8'
    """
    # TensorFlow Lite Micro's own prefix; a name may begin with a digit or be a keyword.
    return "g_" + re.sub(r"\W", "_", name, flags=re.ASCII)

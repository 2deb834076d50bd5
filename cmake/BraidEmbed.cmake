# braid_embed(HEADER FILE...)
#
# Writes a C++ header with each file as a string_view, named after it (page.css:
# kPageCss), so that the binary needs no files beside it.
function(braid_embed header)
  set(text "// The bytes of the files it names.\n#pragma once\n\n#include <string_view>\n\nnamespace braid {\n")
  foreach(file IN LISTS ARGN)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
    get_filename_component(name ${file} NAME)
    string(REGEX REPLACE "[._]" ";" words ${name})
    set(constant "k")
    foreach(word IN LISTS words)
      string(SUBSTRING ${word} 0 1 first)
      string(SUBSTRING ${word} 1 -1 rest)
      string(TOUPPER ${first} first)
      string(APPEND constant "${first}${rest}")
    endforeach()
    file(READ ${file} hex HEX)
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
    string(APPEND text
      "inline constexpr unsigned char ${constant}Bytes[] = {${bytes}};\n"
      "inline const std::string_view ${constant}(  // ${name}\n"
      "    reinterpret_cast<const char*>(${constant}Bytes), sizeof(${constant}Bytes));\n")
  endforeach()
  string(APPEND text "}  // namespace braid\n")
  file(CONFIGURE OUTPUT ${header} CONTENT "${text}" @ONLY)
endfunction()

// Unicode normalisation form C.
#pragma once

#include <string>
#include <string_view>

namespace braid {

// Quick and sure for most text: false means that `text` is in NFC already.
bool MayNeedNfc(std::string_view text);

// Bytes that are not UTF-8 stay as they are and separate what is around them.
// Linear, but for sorting runs of combining marks.
std::string ToNfc(std::string_view text);

}  // namespace braid

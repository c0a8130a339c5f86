"""Its library is not installed."""

import wm_library_that_is_not_installed  # type: ignore[import-not-found]  # the point

Manager = wm_library_that_is_not_installed.Manager

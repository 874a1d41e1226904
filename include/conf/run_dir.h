/* SPDX-License-Identifier: Apache-2.0 */
/* The files in conf.run_dir through which ringmain's processes tell each other something. */
#pragma once

/* "uid mark" lines, left by `redirect up` for the keeper: which number in the SYN mark stands for
 * which uid. A number keeps its uid as long as the file stands. */
#define RUN_DIR_MARKS "marks"
/* What `redirect watch` last found, one JSON object for `ringmain status`: state, since,
 * last_check, mended_count, detail. */
#define RUN_DIR_REDIRECT "redirect.json"

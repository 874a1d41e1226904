/* SPDX-License-Identifier: Apache-2.0 */
/* The operator's commands about the mesh's objects. Each takes its argv, with its own name as
 * argv[0], and returns the exit status. */
#pragma once

int cli_apply_main(int argc, char **argv);
int cli_get_main(int argc, char **argv);
int cli_delete_main(int argc, char **argv);
int cli_diff_main(int argc, char **argv);
int cli_history_main(int argc, char **argv);
int cli_rollback_main(int argc, char **argv);
int cli_operator_main(int argc, char **argv);
int cli_rollout_main(int argc, char **argv);

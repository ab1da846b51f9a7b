/* catalog.h - `ccproxy models`: the table of models as it is in force. */
#ifndef CCPROXY_PROC_CATALOG_H
#define CCPROXY_PROC_CATALOG_H

/* Exit status. */
int catalog_print(void);

#endif

"Skipped tests are counted as failures under CI: green must not mean 'not run'."

import os


def pytest_sessionfinish(session, exitstatus):
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter.stats.get("skipped") and exitstatus == 0:
        print(f"\nCI: {len(reporter.stats['skipped'])} tests were skipped; here every test must run.")
        session.exitstatus = 1

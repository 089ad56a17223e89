/** A run's page in Temporal's UI, and what an operator clicks there. The words are those of UI 2.54. */
import type { WorkflowHandle } from '@temporalio/client';
import type { Browser, Locator, Page } from 'playwright-core';
import { eventually } from '../../fixtures/eventually.ts';

type Tab = 'Timeline' | 'Pending Activities' | 'User Metadata';

export class TemporalPage {
  readonly page: Page;

  private constructor(page: Page) {
    this.page = page;
    page.setDefaultTimeout(60_000);
  }

  /** Of the newest run with this id, unless one is named. */
  static async open(browser: Browser, uiUrl: string, { workflowId }: WorkflowHandle): Promise<TemporalPage> {
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
    await page.goto(`${uiUrl}/namespaces/default/workflows/${workflowId}`);
    return new TemporalPage(page);
  }

  close(): Promise<void> {
    return this.page.close();
  }

  /** Dialogs and menus are in the page twice, for wide and for narrow windows; one of them is seen. */
  #seen(locator: Locator): Locator {
    return locator.locator('visible=true').first();
  }

  tab(name: Tab): Promise<void> {
    return this.#seen(this.page.getByRole('tab', { name: new RegExp(`^${name}`) })).click();
  }

  /** What the details pane says, once that matches. */
  async details(expected: RegExp): Promise<string> {
    await this.tab('User Metadata');
    const look = async (): Promise<string | null> => {
      const texts = await Promise.all(
        this.page.frames().map((frame) =>
          frame
            .locator('body')
            .textContent({ timeout: 500 })
            .catch(() => ''),
        ),
      );
      const found = texts.find((text) => text?.includes('download dataset') && expected.test(text));
      // As the pane itself advises.
      if (found === undefined) await this.page.keyboard.press('r');
      return found ?? null;
    };
    return eventually(`details that match ${expected}`, look, 60_000);
  }

  /** An entry of the menu beside the main button. */
  async menu(entry: string): Promise<void> {
    await this.#seen(this.page.locator('[aria-controls=workflow-actions]')).click();
    await this.#seen(this.page.getByRole('menuitem', { name: entry })).click();
  }

  dialog(title: string): Locator {
    return this.page.getByRole('dialog').locator('visible=true').filter({ hasText: title });
  }

  /** Fills the Update dialog in and submits it; null when it was accepted, else what the dialog says. */
  async update(name: 'resume' | 'abort', data: object): Promise<string | null> {
    await this.menu('Send an Update');
    const dialog = this.dialog('Send an Update');
    await dialog.getByTestId('update-select-button').click();
    await dialog.getByRole('option', { name }).click();
    const box = dialog.getByRole('textbox', { name: 'Data' });
    await box.fill(JSON.stringify(data));
    // Left, it sets the JSON on several lines, and Submit moves away from under a click.
    await box.blur();
    await dialog
      .getByText(/^\s*\{\s*$|^\{\}$/)
      .first()
      .waitFor();
    await dialog.getByRole('button', { name: 'Submit' }).click();
    const accepted = this.#seen(this.page.getByText('Update successful'));
    const refused = dialog.getByText(/expected|nothing to do/).first();
    await accepted.or(refused).first().waitFor();
    if (!(await refused.isVisible())) return null;
    return dialog.textContent();
  }

  async leave(dialog: string): Promise<void> {
    await this.dialog(dialog).getByRole('button', { name: 'Cancel' }).last().click();
  }

  /** Returns the numbers that the dialog offers, after choosing one of them and confirming. */
  async reset(choose: (events: number[]) => number | undefined): Promise<void> {
    await this.#seen(this.page.getByRole('button', { name: 'Reset', exact: true })).click();
    const dialog = this.dialog('Reset Workflow');
    await dialog.getByTestId('workflow-reset-event-id-select-button').click();
    const options = dialog.getByRole('option');
    // The history may still be on its way.
    await options.first().waitFor();
    const events = (await options.allInnerTexts()).map((text) => Number.parseInt(text, 10));
    const chosen = choose(events);
    await options.filter({ hasText: new RegExp(`^\\s*${chosen} - `) }).click();
    await dialog.getByRole('button', { name: 'Confirm' }).click();
  }

  async terminate(): Promise<void> {
    await this.menu('Terminate');
    await this.dialog('Terminate Workflow').getByRole('button', { name: 'Terminate' }).click();
    await this.#seen(this.page.getByText('TERMINATED')).waitFor();
  }

  /** With the id and the input that the form comes with. */
  async startLikeThis(): Promise<void> {
    await this.menu('Start Workflow Like This One');
    // The form asks for the input after it is shown; pressed before, the run would start with none.
    await this.page.waitForURL(/start-workflow/);
    await this.#seen(this.page.getByText('"model"')).waitFor();
    await this.#seen(this.page.getByRole('button', { name: 'Start Workflow' })).click();
    await this.#seen(this.page.getByText('Workflow started successfully')).waitFor();
  }

  /** The part of the page for the training: while a run trains, its evaluation of the base may be pending as well. */
  #training(): Locator {
    const buttons = this.page.getByRole('button', { name: 'Reset', exact: true });
    const title = this.page.getByText('train', { exact: true });
    // The innermost that has both.
    return this.page.locator('div:visible').filter({ has: title }).filter({ has: buttons }).last();
  }

  /** A button of the pending training, confirmed where the UI asks. */
  async activity(press: 'Pause' | 'Unpause' | 'Reset'): Promise<void> {
    await this.tab('Pending Activities');
    await this.#training().getByRole('button', { name: press, exact: true }).click();
    await this.dialog(`${press} Activity`).getByRole('button', { name: press, exact: true }).click();
  }

  /** Update Options of the pending training: how many attempts it has. */
  async limitAttempts(most: number): Promise<void> {
    await this.tab('Pending Activities');
    await this.#training().getByRole('button', { name: 'Update', exact: true }).click();
    await this.#seen(this.page.locator('#maximum-attempts')).fill(String(most));
    await this.#seen(this.page.getByRole('button', { name: 'Save', exact: true })).click();
    await this.#seen(this.page.getByText(/Options for Activity .* have been updated/)).waitFor();
  }
}

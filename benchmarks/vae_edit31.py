import json,sys
from pathlib import Path
p=Path(sys.argv[1]); nb=json.loads(p.read_text()); by={c['id']:c for c in nb['cells']}
def rep(cid,old,new):
    s=''.join(by[cid]['source'])
    if s.count(old)!=1: print('COUNT',s.count(old),cid,old[:70]); return
    by[cid]['source']=s.replace(old,new).rstrip('\n').splitlines(keepends=True)
rep('61b6a9b0',"The inner line is $\\ln\\big(s(u)-s(l)\\big)$ for the sigmoid $s$, rearranged as","A logistic's cumulative distribution is the sigmoid $s$. With the level's edges $u,l=(x\\pm\\frac1{255}-\\text{mean})/\\text{scale}$, the inner line is $\\ln\\big(s(u)-s(l)\\big)$, rearranged as")
rep('50377b56','idle, used = (int(active(m).sum()) for m in (collapsed, trained))','healthy = kinds["unit"]\nidle, used = (int(active(m).sum()) for m in (collapsed, healthy))')
rep('50377b56','with a sum: {used}. "','with a sum, and a sigma of 1: {used}. "')
rep('50377b56','"with a sum": trained.reconstruct','"with a sum": healthy.reconstruct')
rep('12aeacc2','assert spread[3] > 0','assert spread[:4].sum() > 1.5 * 4 / len(spread) * spread.sum(), "directions in which more than the average happens"')
rep('88160bbb',"each makes the bound tighter","each can raise the bound")
rep('ed81ae35',"The original project compared four, with 10, 128, 512 and 2048 numbers. So does the study of this chapter: the same networks around each,","The study of this chapter compares four, with 10, 128, 512 and 2048 numbers: the same networks around each,")
rep('5d1c7a9f',"the training asks nothing of the codes between","in this run the regions don't fill the space between")
p.write_text(json.dumps(nb,indent=1,ensure_ascii=False,sort_keys=True)+'\n')
